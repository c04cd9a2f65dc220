//go:build tools

// Package tools names the programs that ./scripts/kube builds, so that go.mod and go.sum pin all that they are made of.
package tools

import (
	_ "go.etcd.io/etcd/server/v3"
	_ "k8s.io/kubernetes/cmd/kube-apiserver"
	_ "sigs.k8s.io/kustomize/kustomize/v5"
)
