package client_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"

	"github.com/certwright/certwright/client"
)

// A server and its client have certificates of the CA, which renew themselves, and know
// each other by them.
func Example() {
	if err := greet(context.Background()); err != nil {
		fmt.Println(err)
	}
	// Output:
	// hello, web.team-a.internal
}

func greet(ctx context.Context) error {
	// Here they stand for CA_SERVER=ca.internal:8444, a root.crt and a token's file.
	server, root, token := ca().grpc, ca().root(), ca().token(2)

	// The server: clients must be web.team-a.internal.
	db, err := client.Open(ctx, client.Wish{
		CA:      client.Config{Server: server, CAFile: root, Token: client.TokenFile(token)},
		Names:   []string{"db.team-a.internal"},
		Profile: "mtls",
	})
	if err != nil {
		return err
	}
	defer db.Close()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	service := &http.Server{
		TLSConfig: db.MutualTLS(client.WithHost("web.team-a.internal")),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = fmt.Fprintln(w, "hello,", r.TLS.PeerCertificates[0].DNSNames[0])
		}),
	}
	go func() { _ = service.ServeTLS(listener, "", "") }()
	defer service.Close()

	// The client: the server must be db.team-a.internal, wherever it runs.
	web, err := client.Open(ctx, client.Wish{
		CA:      client.Config{Server: server, CAFile: root, Token: client.TokenFile(token)},
		Names:   []string{"web.team-a.internal"},
		Profile: "mtls",
	})
	if err != nil {
		return err
	}
	defer web.Close()
	requests := &http.Client{Transport: &http.Transport{TLSClientConfig: web.ClientTLS(client.WithHost("db.team-a.internal"))}}
	defer requests.CloseIdleConnections()
	answer, err := requests.Get("https://" + listener.Addr().String())
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	fmt.Print(string(text))
	return nil
}
