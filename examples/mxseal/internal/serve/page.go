package serve

import (
	"io"
	"net/http"

	"github.com/mxseal/mxseal/internal/names"
	"github.com/mxseal/mxseal/policy/postfix"
)

// page returns the handler of the server for people and monitors. It changes nothing.
func (d *daemon) page() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") })
	mux.HandleFunc("GET /explain", d.explain)
	mux.Handle("GET /metrics", d.scrapes())
	// A page of another site must not read or embed what is here.
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Content-Type", "text/plain; charset=utf-8")
		mux.ServeHTTP(w, r)
	})
}

// explain writes how the plan of a domain was made, and what Postfix gets.
func (d *daemon) explain(w http.ResponseWriter, r *http.Request) {
	domain := r.URL.Query().Get("domain")
	if domain == "" || len(domain) > 1024 {
		http.Error(w, "want ?domain=NAME", http.StatusBadRequest)
		return
	}
	plan, err := d.resolver.Resolve(r.Context(), domain)
	if err == nil {
		_ = plan.Explain(w)
	} else {
		_, _ = io.WriteString(w, names.Printable(err.Error(), 4096)+"\n")
	}
	settings := d.mapSettings()
	for _, client := range []struct {
		name string
		postfix.Client
	}{{"QUERY", postfix.Postfix}, {"QUERYwithTLSRPT", postfix.PostfixTLSRPT}} {
		reply := postfix.Policy(plan, err, postfix.Options{
			Client: client.Client, Fingerprints: settings.Fingerprints, DeferInsecureMX: settings.DeferInsecureMX, TestingReports: settings.TestingReports,
		})
		_, _ = io.WriteString(w, client.name+": "+reply.Level()+"\n")
		if reply.Text != "" {
			_, _ = io.WriteString(w, "  "+names.Printable(reply.Text, 4096)+"\n")
		}
		for _, loss := range reply.Inexact {
			_, _ = io.WriteString(w, "  lost: "+loss.String()+"\n")
		}
	}
}
