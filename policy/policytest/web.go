package policytest

import (
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
	requests []string // guarded by server.mu
}

// Web adds an HTTPS host at port 443 and publishes its address. It has a
// certificate that chains to RootCAs and belongs to the closest Domain, like a
// mail host.
func (inet *Internet) Web(name string, handler http.Handler, options ...Option) *Web {
	name = normal(name)
	w := &Web{server: server{domain: inet.domainOf(name), name: name, key: newKey(), traits: options}}
	w.start(handler)
	return w
}

func (w *Web) start(handler http.Handler) {
	web := &http.Server{
		Handler:   w.faulty(handler),
		TLSConfig: w.tlsConfig("h2", "http/1.1"),
		ErrorLog:  log.New(io.Discard, "", 0),
	}
	real := w.domain.inet.listen(func(l net.Listener) { web.ServeTLS(l, "", "") }, web.Close)
	w.publish(443, real)
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

// faulty returns a handler that applies the faults in effect and otherwise
// calls handler.
func (w *Web) faulty(handler http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.note(r.Method + " " + r.URL.Path)
		b := w.behaviour()
		switch text, ok := b.replies[Fetch]; {
		case text == stall:
			w.domain.inet.wait(r.Context())
			panic(http.ErrAbortHandler)
		case text == hangUp:
			panic(http.ErrAbortHandler)
		case text == endless:
			handler.ServeHTTP(rw, r)
			for err := error(nil); err == nil; {
				_, err = io.WriteString(rw, "and so: on\r\n")
			}
		case ok:
			io.WriteString(rw, text)
		case b.http != nil:
			b.http(rw, r)
		default:
			handler.ServeHTTP(rw, r)
		}
	})
}
