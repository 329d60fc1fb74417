// Stdlib does, again and again, what the templates of templates/go look at: it serves and asks HTTP, queries a database
// (a driver of its own), shakes hands over TLS, decodes JSON, makes errors, collects garbage. It prints a line a round.
package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"time"
)

type fake struct{}
type conn struct{}
type rows struct{ left int }

func (fake) Open(string) (driver.Conn, error)              { return conn{}, nil }
func (conn) Prepare(string) (driver.Stmt, error)           { return nil, errors.New("not prepared") }
func (conn) Close() error                                  { return nil }
func (conn) Begin() (driver.Tx, error)                     { return nil, errors.New("no transactions") }
func (rows) Columns() []string                             { return []string{"id"} }
func (rows) Close() error                                  { return nil }
func (r *rows) Next(to []driver.Value) error {
	if r.left == 0 {
		return io.EOF
	}
	r.left--
	to[0] = int64(r.left)
	return nil
}
func (conn) QueryContext(_ context.Context, query string, _ []driver.NamedValue) (driver.Rows, error) {
	if query == "SELECT broken" {
		return nil, errors.New("no such table")
	}
	return &rows{2}, nil
}
func (conn) ExecContext(context.Context, string, []driver.NamedValue) (driver.Result, error) {
	return driver.RowsAffected(1), nil
}

type order struct {
	ID    int    `json:"id"`
	Email string `json:"email"`
}

//go:noinline
func work(id int, name string) (int, error) {
	if id%10 == 0 {
		return 0, fmt.Errorf("work %d of %s went wrong", id, name)
	}
	return id * 2, nil
}

func certificate() tls.Certificate {
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	made := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "shop"},
		DNSNames: []string{"shop.example"}, NotAfter: time.Now().Add(time.Hour)}
	der, _ := x509.CreateCertificate(rand.Reader, made, made, &key.PublicKey, key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func handshake(listener net.Listener) {
	client, err := tls.Dial("tcp", listener.Addr().String(), &tls.Config{ServerName: "shop.example", InsecureSkipVerify: true})
	if err == nil {
		client.Close()
	}
}

func main() {
	sql.Register("fake", fake{})
	database, _ := sql.Open("fake", "")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/missing" {
			w.WriteHeader(http.StatusNotFound)
		}
		fmt.Fprint(w, "hello")
	}))
	listener, _ := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{certificate()}})
	go func() {
		for {
			accepted, err := listener.Accept()
			if err != nil {
				return
			}
			go func() { accepted.(*tls.Conn).Handshake(); accepted.Close() }()
		}
	}()
	for n := 1; ; n++ {
		for _, path := range []string{"/orders?token=secret", "/missing"} {
			if answer, err := http.Get(server.URL + path); err == nil {
				io.Copy(io.Discard, answer.Body)
				answer.Body.Close()
			}
		}
		for _, query := range []string{"SELECT id FROM orders WHERE email = 'ada@example.com'", "SELECT broken"} {
			if found, err := database.QueryContext(context.Background(), query); err == nil {
				found.Close()
			}
		}
		database.ExecContext(context.Background(), "UPDATE orders SET paid = true")
		handshake(listener)
		var decoded order
		json.Unmarshal([]byte(`{"id": 7, "email": "ada@example.com"}`), &decoded)
		json.Unmarshal([]byte(`{"id": "seven"}`), &decoded)
		doubled, err := work(n, "ada@example.com")
		runtime.GC()
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		fmt.Println(n, doubled, err)
		time.Sleep(20 * time.Millisecond)
	}
}
