package policytest

import (
	"context"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
)

// Web is an HTTPS host, such as one that receives TLS reports. Break makes it
// fail. It is safe for concurrent use.
type Web struct {
	server
	handler  http.Handler
	requests []string // guarded by server.mu
}

// Web adds an HTTPS host at port 443 and publishes its address. It has a
// certificate that chains to RootCAs and belongs to the closest Domain, like a
// mail host.
func (inet *Internet) Web(name string, handler http.Handler, options ...Option) *Web {
	name = normal(name)
	w := &Web{server: server{domain: inet.domainOf(name), name: name, traits: options}}
	w.start(handler)
	return w
}

func (w *Web) start(handler http.Handler) {
	w.handler = handler
	w.serve, w.respond = w.domain.inet.web.serve, w.answer
	b := w.behavior()
	w.port = 443
	if b.listen != "" {
		w.port = b.port
	}
	w.publish(b)
}

// Requests returns the method and path of all requests so far, such as "GET
// /.well-known/mta-sts.txt".
func (w *Web) Requests() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.requests)
}

func (w *Web) note(request string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.requests = append(w.requests, request)
}

// answer applies the faults in effect at the request and otherwise calls the
// handler.
func (w *Web) answer(t *transport, rw http.ResponseWriter, r *http.Request) {
	w.note(r.Method + " " + r.URL.Path)
	b := w.behaviorDuring(t.does.connection)
	action := progress{}.next(b, Fetch, true)
	w.domain.inet.pause(action.delay)
	switch {
	case action.kind == silence:
		w.domain.inet.wait(r.Context())
		panic(http.ErrAbortHandler)
	case action.kind == send:
		io.WriteString(rw, action.text)
	case b.http != nil:
		b.http(rw, r)
	default:
		w.handler.ServeHTTP(rw, r)
	}
	if action.kind == endless {
		for err := error(nil); err == nil; {
			_, err = io.WriteString(rw, "and so: on\r\n")
		}
	}
	if action.close {
		if action.text != "" {
			http.NewResponseController(rw).Flush()
		}
		panic(http.ErrAbortHandler)
	}
}

// webServer is the HTTP server of all HTTPS hosts. It is its own listener.
type webServer struct {
	http    *http.Server
	conns   chan net.Conn
	closing <-chan struct{}
}

// transportKey is the key of the *transport in the context of a request.
type transportKey struct{}

func newWebServer(closing <-chan struct{}) *webServer {
	return &webServer{conns: make(chan net.Conn), closing: closing, http: &http.Server{
		Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			t := r.Context().Value(transportKey{}).(*transport)
			t.server.respond(t, rw, r)
		}),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, transportKey{}, c.(*tls.Conn).NetConn())
		},
		TLSConfig: tlsConfig("h2", "http/1.1"),
		ErrorLog:  log.New(io.Discard, "", 0),
	}}
}

func (s *webServer) run() { s.http.ServeTLS(s, "", "") }

// serve serves a connection to an HTTPS host.
func (s *webServer) serve(t *transport) {
	t.hello = true
	select {
	case s.conns <- t:
	case <-s.closing:
		t.Close()
	}
}

// Accept is a method of net.Listener.
func (s *webServer) Accept() (net.Conn, error) {
	select {
	case c := <-s.conns:
		return c, nil
	case <-s.closing:
		return nil, net.ErrClosed
	}
}

// Close is a method of net.Listener. The listener ends with the internet.
func (s *webServer) Close() error { return nil }

// Addr is a method of net.Listener.
func (s *webServer) Addr() net.Addr { return &net.TCPAddr{} }
