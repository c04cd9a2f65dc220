// A server that compares Origin with Host, as gorilla/websocket does by default, and that redirects to its own Host.
package main

import (
	"io"
	"log"
	"net/http"
	"os"

	"github.com/gorilla/websocket"
)

const page = `<!doctype html><title>Landed</title><p id="said"></p><script>
const socket = new WebSocket(new URL("socket", location.href.replace(/^http/, "ws")));
socket.onopen = () => socket.send("hello");
socket.onmessage = ({ data }) => (document.querySelector("#said").textContent = data);
</script>`

func main() {
	var upgrader websocket.Upgrader
	http.HandleFunc("/start", func(w http.ResponseWriter, r *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "visited", Value: "start", Path: "/pages"})
		http.Redirect(w, r, "http://"+r.Host+"/pages/landed", http.StatusFound)
	})
	http.HandleFunc("/pages/landed", func(w http.ResponseWriter, r *http.Request) {
		if _, err := r.Cookie("visited"); err != nil {
			http.Error(w, "the cookie is missing", http.StatusForbidden)
			return
		}
		w.Header().Set("Content-Type", "text/html")
		io.WriteString(w, page)
	})
	http.HandleFunc("/pages/socket", func(w http.ResponseWriter, r *http.Request) {
		connection, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer connection.Close()
		for {
			kind, text, err := connection.ReadMessage()
			if err != nil || connection.WriteMessage(kind, append([]byte("echo: "), text...)) != nil {
				return
			}
		}
	})
	http.HandleFunc("/ready", func(http.ResponseWriter, *http.Request) {})
	log.Fatal(http.ListenAndServe(os.Args[1], nil))
}
