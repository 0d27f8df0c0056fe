// A TLS server and client over Go's crypto/tls, for the interop tests.
//
//	serve PORT CERTIFICATE KEY
//	get HOST:PORT NAME ROOTS VERSION [PROXY_HOST:PORT]    prints one line of JSON
//	again HOST:PORT NAME ROOTS VERSION    connects twice; prints whether each connection resumed
package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"
)

var versions = map[string]uint16{
	"TLSv1": tls.VersionTLS10, "TLSv1.1": tls.VersionTLS11, "TLSv1.2": tls.VersionTLS12, "TLSv1.3": tls.VersionTLS13,
}

func nameOf(version uint16) string {
	for name, number := range versions {
		if number == version {
			return name
		}
	}
	return "?"
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serve(port, certificate, key string) {
	handler := func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "POST" {
			body, err := io.ReadAll(r.Body)
			if err == nil {
				w.Write(body)
			}
			return
		}
		json.NewEncoder(w).Encode(map[string]string{
			"version": nameOf(r.TLS.Version), "suite": tls.CipherSuiteName(r.TLS.CipherSuite),
			"name": r.TLS.ServerName, "protocol": r.Proto,
		})
	}
	server := &http.Server{Handler: http.HandlerFunc(handler), TLSConfig: &tls.Config{MinVersion: tls.VersionTLS10}}
	listener, err := net.Listen("tcp", "127.0.0.1:"+port)
	must(err)
	fmt.Println("READY")
	must(server.ServeTLS(listener, certificate, key))
}

func get(target, name, roots, version string, proxy ...string) {
	pem, err := os.ReadFile(roots)
	must(err)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	transport := &http.Transport{
		// RFC 9113, section 9.2: HTTP/2 needs TLS 1.2.
		ForceAttemptHTTP2: versions[version] >= tls.VersionTLS12,
		TLSClientConfig: &tls.Config{
			RootCAs: pool, ServerName: name, MinVersion: versions[version], MaxVersion: versions[version],
		},
	}
	if len(proxy) > 0 {
		transport.Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: proxy[0]})
	}
	client := &http.Client{Transport: transport, Timeout: 20 * time.Second}
	answer, err := client.Get("https://" + target + "/")
	must(err)
	server, err := io.ReadAll(answer.Body)
	must(err)
	payload := bytes.Repeat([]byte("0123456789abcdef"), 65536)
	echo, err := client.Post("https://"+target+"/", "application/octet-stream", bytes.NewReader(payload))
	must(err)
	back, err := io.ReadAll(echo.Body)
	must(err)
	must(json.NewEncoder(os.Stdout).Encode(map[string]any{
		"server": string(server),
		"client": map[string]any{
			"version": nameOf(answer.TLS.Version), "suite": tls.CipherSuiteName(answer.TLS.CipherSuite),
			"issuer": answer.TLS.PeerCertificates[0].Issuer.CommonName, "protocol": answer.Proto,
			"echoed": bytes.Equal(back, payload),
		},
	}))
}

func again(target, name, roots, version string) {
	pem, err := os.ReadFile(roots)
	must(err)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	config := &tls.Config{
		RootCAs: pool, ServerName: name, MinVersion: versions[version], MaxVersion: versions[version],
		ClientSessionCache: tls.NewLRUClientSessionCache(4),
	}
	for i := 0; i < 2; i++ {
		conn, err := tls.Dial("tcp", target, config)
		must(err)
		_, err = conn.Write([]byte("GET / HTTP/1.0\r\n\r\n"))
		must(err)
		_, err = io.ReadAll(conn)
		must(err)
		fmt.Println(conn.ConnectionState().DidResume)
		conn.Close()
	}
}

func main() {
	a := os.Args
	if a[1] == "serve" {
		serve(a[2], a[3], a[4])
	} else if a[1] == "again" {
		again(a[2], a[3], a[4], a[5])
	} else {
		get(a[2], a[3], a[4], a[5], a[6:]...)
	}
}
