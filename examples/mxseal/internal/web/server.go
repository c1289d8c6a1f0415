package web

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/mxseal/mxseal/examples/mxseal/internal/style"
	"github.com/mxseal/mxseal/internal/names"
	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/tlsrpt/reporter"
)

const (
	// maxRequests bounds the pages that are made at the same time. Most of them read everything that is known.
	maxRequests = 8
	// patience is how long a page waits for a domain to be looked up, or for the store.
	patience = 15 * time.Second
	// maxText bounds a text in octets: an explanation, or what is asked for.
	maxText = 64 << 10
)

// Config configures New.
type Config struct {
	// Resolver knows plans and policies. It is required.
	Resolver *policy.Resolver
	// Answers writes what mail servers get for a plan, or for the error that Resolve returned instead.
	// It is required.
	Answers func(w io.Writer, plan *policy.Plan, err error)
	// Stalled returns the addresses of mail hosts that did not answer in time, and Slow the domains that took
	// too long to look up, each with the time until which that is remembered. They are required.
	Stalled func() map[netip.Addr]time.Time
	Slow    func() map[string]time.Time
	// Reporter sends the sums that Store has. nil means that there are no reports.
	Reporter *reporter.Reporter
	Store    reporter.Store
	// Events and Waits are filled by others. They are required.
	Events *Events
	Waits  *Waits
	// Metrics is the handler of /metrics. It is required.
	Metrics http.Handler
	// Names are the names under which browsers may reach the server, besides localhost and IP addresses.
	Names []string
	// Now is required.
	Now func() time.Time
}

// server makes the pages.
type server struct {
	Config
	pages  *template.Template
	places chan struct{}
}

//go:embed pages.html
var pagesText string

// New returns the handler of all pages.
func New(config Config) (http.Handler, error) {
	pages, err := template.New("").Parse(pagesText)
	if err != nil {
		return nil, err
	}
	s := &server{config, pages, make(chan struct{}, maxRequests)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") })
	mux.Handle("GET /metrics", config.Metrics)
	mux.HandleFunc("GET /explain", s.bounded(s.explain))
	for path, view := range map[string]view{
		"/{$}": s.overview, "/policies": s.policies, "/plans": s.plans, "/refused": s.refused, "/stalling": s.stalling,
		"/reports": s.reports, "/events": s.events,
	} {
		mux.HandleFunc("GET "+path, s.bounded(s.page(view)))
	}
	return guard{config.Names, mux}, nil
}

// bounded limits the requests at the same time.
func (s *server) bounded(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		select {
		case s.places <- struct{}{}:
			defer func() { <-s.places }()
			next(w, r)
		default:
			w.Header().Set("Retry-After", "5")
			http.Error(w, "too many pages are being made; try again in a moment", http.StatusServiceUnavailable)
		}
	}
}

// query is what a request asks for.
type query struct {
	domain   string // to look up
	contains string // only domains that contain it
	after    string // the key of the last row of the page before
	foreign  bool   // a page of another site asks
}

// view returns what a page shows, and the name of its template.
type view func(ctx context.Context, q query) (name string, content any)

// page returns the handler of a view.
func (s *server) page(make view) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		given := r.URL.Query()
		q := query{
			domain: strings.TrimSpace(given.Get("domain")), contains: strings.ToLower(strings.TrimSpace(given.Get("contains"))),
			after: given.Get("after"), foreign: isForeign(r),
		}
		if len(q.domain)+len(q.contains)+len(q.after) > 4*maxName {
			http.Error(w, "this is too long for a domain", http.StatusBadRequest)
			return
		}
		name, content := make(r.Context(), q)
		var b bytes.Buffer
		err := s.pages.ExecuteTemplate(&b, name, struct {
			Style        template.CSS
			Here, Domain string
			Time         time.Time
			Content      any
		}{sheet(), r.URL.Path, q.domain, s.Now().UTC(), content})
		if err != nil {
			http.Error(w, "the page cannot be made", http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write(b.Bytes())
	}
}

//go:embed pages.css
var ownStyle string

// sheet returns the style sheet of the pages.
func sheet() template.CSS { return style.CSS() + template.CSS(ownStyle) }

// line returns text of the network as one line of printable ASCII.
func line(text string) string { return names.Printable(text, maxReason) }

// moment is a time as people read it.
type moment struct{ at, now time.Time }

func (s *server) moment(at time.Time) moment { return moment{at, s.Now()} }

func (m moment) String() string {
	if m.at.IsZero() {
		return "-"
	}
	text := m.at.UTC().Format("2006-01-02 15:04 MST")
	away := m.at.Sub(m.now)
	if away < 0 {
		return text + ", " + roughly(-away) + " ago"
	}
	return text + ", in " + roughly(away)
}

// roughly returns a duration in its largest unit.
func roughly(d time.Duration) string {
	for _, unit := range []struct {
		name string
		long time.Duration
	}{{"d", 24 * time.Hour}, {"h", time.Hour}, {"min", time.Minute}} {
		if d >= 2*unit.long {
			return fmt.Sprint(int64(d/unit.long), " ", unit.name)
		}
	}
	return fmt.Sprint(int64(d/time.Second), " s")
}
