//go:build tools

// Package tools names the program that asks how HTTP/2 is spoken, so that go.mod and go.sum pin all that it is made of.
package tools

import _ "github.com/summerwind/h2spec/cmd/h2spec"
