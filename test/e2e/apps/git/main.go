// git's own HTTP backend as a CGI program: main ADDRESS FOLDER BACKEND.
package main

import (
	"log"
	"net/http"
	"net/http/cgi"
	"os"
)

func main() {
	http.Handle("/git/", &cgi.Handler{
		Path: os.Args[3],
		Root: "/git",
		Env:  []string{"GIT_PROJECT_ROOT=" + os.Args[2], "GIT_HTTP_EXPORT_ALL=1", "REMOTE_USER=person"},
	})
	http.HandleFunc("/ready", func(http.ResponseWriter, *http.Request) {})
	log.Fatal(http.ListenAndServe(os.Args[1], nil))
}
