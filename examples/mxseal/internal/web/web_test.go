package web

import (
	"fmt"
	"html"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/policytest"
)

// newConfig returns a configuration in which nothing stalls.
func newConfig(inet *policytest.Internet) Config {
	return Config{
		Resolver: inet.Resolver(), Answers: func(w io.Writer, _ *policy.Plan, err error) { fmt.Fprintf(w, "answer: %v\n", err) },
		Stalled: func() map[netip.Addr]time.Time { return nil }, Slow: func() map[string]time.Time { return nil },
		Events: new(Events), Waits: new(Waits), Metrics: http.NotFoundHandler(), Now: time.Now, Names: []string{"mxseal.example"},
	}
}

// get asks for a path with header fields, which come in pairs. The name of the server is the field Host.
func get(t *testing.T, pages http.Handler, path string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
	r.Host = "localhost"
	for field := range slices.Chunk(header, 2) {
		if field[0] == "Host" {
			r.Host = field[1]
		}
		r.Header.Set(field[0], field[1])
	}
	w := httptest.NewRecorder()
	pages.ServeHTTP(w, r)
	return w
}

func newPages(t *testing.T, c Config) http.Handler {
	t.Helper()
	pages, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return pages
}

// A request under a name that an attacker can choose is refused, whatever it asks for, and one from a page of
// another site looks up nothing. Nothing can be changed.
func TestForeignRequestsAreRefused(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	inet.Domain("dane.example").MX("mx.dane.example")
	inet.Host("mx.dane.example", policytest.TLSA("3 1 1"))
	pages := newPages(t, newConfig(inet))
	for host, permitted := range map[string]bool{
		"localhost": true, "localhost:8640": true, "LocalHost.": true, "127.0.0.1:8640": true, "[::1]:8640": true, "[::1]": true, "192.0.2.1": true,
		"mxseal.example": true, "MXSEAL.example:443": true,
		"evil.example": false, "evil.example:8640": false, "localhost.evil.example": false, "127.0.0.1.evil.example": false, "": false,
		"evil.localhost": false, "[evil.example]": false, "localhost:1:2": false, "mxseal": false,
	} {
		for _, path := range []string{"/", "/explain?domain=dane.example", "/healthz", "/metrics", "/policies"} {
			if w := get(t, pages, path, "Host", host); (w.Code == http.StatusMisdirectedRequest) == permitted {
				t.Errorf("%q%s: %d", host, path, w.Code)
			}
		}
	}
	asked := len(inet.AllQuestions())
	for _, site := range []string{"cross-site", "same-site"} {
		if w := get(t, pages, "/explain?domain=plain.example", "Sec-Fetch-Site", site); w.Code != http.StatusForbidden {
			t.Errorf("%s: %d", site, w.Code)
		}
		if w := get(t, pages, "/?domain=plain.example", "Sec-Fetch-Site", site); !strings.Contains(w.Body.String(), "Another site") {
			t.Errorf("%s: %s", site, w.Body)
		}
		for dest, want := range map[string]int{"document": http.StatusOK, "image": http.StatusForbidden, "iframe": http.StatusForbidden} {
			for _, path := range []string{"/reports", "/policies"} {
				if w := get(t, pages, path, "Sec-Fetch-Site", site, "Sec-Fetch-Dest", dest); w.Code != want {
					t.Errorf("%s, %s as %s: %d", site, path, dest, w.Code)
				}
			}
		}
	}
	if n := len(inet.AllQuestions()); n != asked {
		t.Errorf("%d queries", n-asked)
	}
	for _, site := range []string{"none", "same-origin"} {
		if w := get(t, pages, "/?domain=dane.example", "Sec-Fetch-Site", site); !strings.Contains(w.Body.String(), "authenticated by DANE") {
			t.Errorf("%s: %s", site, w.Body)
		}
	}
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete} {
		r := httptest.NewRequestWithContext(t.Context(), method, "/", nil)
		r.Host = "localhost"
		w := httptest.NewRecorder()
		if pages.ServeHTTP(w, r); w.Code != http.StatusMethodNotAllowed {
			t.Errorf("%s: %d", method, w.Code)
		}
	}
	h := get(t, pages, "/").Header()
	for name, want := range map[string]string{
		"Content-Security-Policy": "default-src 'none'; style-src 'sha256-", "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store",
		"Cross-Origin-Resource-Policy": "same-origin", "Content-Type": "text/html; charset=utf-8", "Referrer-Policy": "no-referrer",
	} {
		if !strings.HasPrefix(h.Get(name), want) {
			t.Errorf("%s: %s, want %s", name, h.Get(name), want)
		}
	}
	if policy := h.Get("Content-Security-Policy"); strings.Contains(policy, "unsafe") {
		t.Error(policy)
	}
}

// At most maxRequests pages are made at the same time. Monitors are answered nevertheless.
func TestPagesAtOnceAreBounded(t *testing.T) {
	t.Parallel()
	c := newConfig(policytest.New(t))
	in, out := make(chan bool), make(chan bool)
	c.Slow = func() map[string]time.Time {
		in <- true
		<-out
		return nil
	}
	pages := newPages(t, c)
	ended := make(chan int)
	for range maxRequests {
		go func() { ended <- get(t, pages, "/stalling").Code }()
		<-in
	}
	for _, path := range []string{"/", "/explain?domain=x.example"} {
		if w := get(t, pages, path); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
	if w := get(t, pages, "/healthz"); w.Body.String() != "ok\n" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	for range maxRequests {
		out <- true
		if code := <-ended; code != http.StatusOK {
			t.Error(code)
		}
	}
	if w := get(t, pages, "/plans"); w.Code != http.StatusOK {
		t.Error(w.Code)
	}
}

// A list of any length is shown page by page, without a gap, and no more rows than those of a page are kept.
func TestListIsShownPageByPage(t *testing.T) {
	t.Parallel()
	const n = 100_000
	all := func(yield func(int) bool) {
		for i := range n {
			if !yield(i*7919%n) || i%10 == 0 && !yield(i*7919%n) { // in no order, and some twice
				return
			}
		}
	}
	shown := 0
	row := func(i int) (string, string, bool) {
		return fmt.Sprintf("%05d", i), fmt.Sprintf("d%d.example", i), i%2 == 0
	}
	show := func(i int) int {
		shown++
		return i
	}
	var got []int
	q := query{contains: "77"}
	for pages := 1; ; pages++ {
		w := look(all, q, row, show)
		if len(w.Rows) > pageSize || cap(w.keys) > 4*pageSize {
			t.Fatalf("%d rows, room for %d", len(w.Rows), cap(w.keys))
		}
		got = append(got, w.Rows...)
		if w.Next == "" {
			if want := (len(got) + pageSize - 1) / pageSize; pages != want {
				t.Errorf("%d pages, want %d", pages, want)
			}
			break
		}
		q.after = w.Next
	}
	var want []int
	for i := range n {
		if i%2 == 0 && strings.Contains(fmt.Sprint(i), "77") {
			want = append(want, i)
		}
	}
	if !slices.Equal(got, want) || shown != len(want) {
		t.Errorf("%d rows, %d shown, want %d", len(got), shown, len(want))
	}
	exact := look(slices.Values(want[:pageSize]), query{}, row, show)
	if exact.Next != "" || len(exact.Rows) != pageSize || exact.Total != pageSize {
		t.Errorf("%+v", exact)
	}
}

// Hosts and lookups that stall are shown with their domains. A request that is too long is refused.
func TestStallingHostsAreShown(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	inet.Domain("dane.example").MX("mx.dane.example", "mx2.dane.example")
	inet.Host("mx.dane.example", policytest.TLSA("3 1 1"), policytest.Addrs("192.0.2.77"))
	inet.Host("mx2.dane.example", policytest.TLSA("3 1 1"), policytest.Addrs("192.0.2.78"))
	inet.Domain("other.example").MX("mx2.dane.example")
	c := newConfig(inet)
	until := time.Now().Add(5*time.Minute + 30*time.Second)
	c.Stalled = func() map[netip.Addr]time.Time {
		return map[netip.Addr]time.Time{netip.MustParseAddr("192.0.2.77"): until}
	}
	c.Slow = func() map[string]time.Time { return map[string]time.Time{"slow\u202e.example": until} }
	pages := newPages(t, c)
	for _, domain := range []string{"dane.example", "other.example"} {
		if _, err := c.Resolver.Resolve(t.Context(), domain); err != nil {
			t.Fatal(err)
		}
	}
	page := get(t, pages, "/stalling").Body.String()
	for _, want := range []string{">dane.example<", "mx.dane.example at 192.0.2.77; tried last until", "in 5 min", `slow\u202e.example`} {
		if !strings.Contains(page, want) {
			t.Errorf("no %q in %s", want, page)
		}
	}
	if strings.Contains(page, "other.example") || strings.Contains(page, "192.0.2.78") {
		t.Error(page)
	}
	if page := get(t, pages, "/stalling?contains=other").Body.String(); strings.Contains(page, "192.0.2.77") {
		t.Error(page)
	}
	if w := get(t, pages, "/?domain="+strings.Repeat("a", 4*maxName+1)); w.Code != http.StatusBadRequest {
		t.Error(w.Code)
	}
	if w := get(t, pages, "/reports"); !strings.Contains(w.Body.String(), "None are sent") {
		t.Error(w.Body)
	}
}

// The latest events are kept, with what they are about, as text that is safe to show and of bounded length.
func TestLatestEventsAreKept(t *testing.T) {
	t.Parallel()
	var events Events
	passed := new(strings.Builder)
	log := slog.New(events.Handler(slog.NewTextHandler(passed, &slog.HandlerOptions{Level: slog.LevelWarn})))
	log.Debug("too small")
	for i := range maxEvents + 5 {
		log.Info("number", "domain", fmt.Sprintf("d%d.example", i))
	}
	log.With("part", "x").WithGroup("g").With("a", 1).Warn("bad\n\u202eword", "time", time.Unix(0, 0), "long", strings.Repeat("y", 1000))
	all := slices.Collect(events.Latest())
	if len(all) != maxEvents || all[1].Domain != fmt.Sprintf("d%d.example", maxEvents+4) || all[maxEvents-1].Domain != "d6.example" {
		t.Errorf("%d events, %+v, %+v", len(all), all[1], all[len(all)-1])
	}
	last := all[0]
	if want := `bad\n\u202eword (part=x, g.a=1, g.time=1970-01-01T00:00:00Z, g.long=yyy`; !strings.HasPrefix(last.Text, want) || len(last.Text) > maxEventText || !last.Bad || last.Time.IsZero() {
		t.Errorf("%+v", last)
	}
	if all[1].Bad || all[1].Text != "number" {
		t.Errorf("%+v", all[1])
	}
	if text := passed.String(); strings.Contains(text, "number") || !strings.Contains(text, "g.a=1") {
		t.Error(text)
	}
}

// A reader who goes from page to page sees each event once, although more come, until those that follow are forgotten.
func TestEventsDoNotMoveWhilePaging(t *testing.T) {
	t.Parallel()
	c := newConfig(policytest.New(t))
	pages := newPages(t, c)
	log, logged := slog.New(c.Events.Handler(slog.DiscardHandler)), 0
	add := func(n int) {
		for range n {
			logged++
			log.Info("event", "n", logged)
		}
	}
	shown := regexp.MustCompile(`event \(n=([0-9]+)\)`)
	next := regexp.MustCompile(`<a href="(\?after=[^"]+)" rel="next">`)
	page := func(query string, first, last int) string {
		t.Helper()
		text := get(t, pages, "/events"+query).Body.String()
		var got []string
		for _, each := range shown.FindAllStringSubmatch(text, -1) {
			got = append(got, each[1])
		}
		var want []string
		for n := first; n >= last; n-- {
			want = append(want, fmt.Sprint(n))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q has %q, want %d to %d", query, got, first, last)
		}
		link := next.FindStringSubmatch(text)
		if link == nil {
			return ""
		}
		return html.UnescapeString(link[1])
	}
	add(250)
	second := page("", 250, 151)
	add(170)
	third := page(second, 150, 51)
	add(maxEvents + 30 - logged) // the oldest 30 are forgotten
	if more := page(third, 50, 31); more != "" {
		t.Errorf("more follows: %s", more)
	}
	page("", logged, logged-99)
}

// Of the domains to which mail was not sent, the latest are kept.
func TestLatestWaitingDomainsAreKept(t *testing.T) {
	t.Parallel()
	var waits Waits
	now := time.Now()
	for i := range maxWaits + 10 {
		waits.Note(fmt.Sprintf("d%d.example", i), "why", now.Add(time.Duration(i)))
		waits.Note("always.example", strings.Repeat("\x1b", 1000), now.Add(time.Duration(i)))
	}
	all := slices.Collect(waits.Latest())
	if len(all) != maxWaits || len(waits.places) != maxWaits || all[0].Domain != "always.example" || all[len(all)-1].Domain != "d11.example" {
		t.Errorf("%d, %+v, %+v", len(all), all[0], all[len(all)-1])
	}
	if w, found := waits.Of("always.example"); !found || w.Count != maxWaits+10 || !w.First.Equal(now) || !w.Last.After(now) || len(w.Reason) > maxReason || strings.Contains(w.Reason, "\x1b") {
		t.Errorf("%+v", w)
	}
	if _, found := waits.Of("d1.example"); found {
		t.Error("d1.example is still there")
	}
}

func TestMomentInWords(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	for away, want := range map[time.Duration]string{
		0: "in 0 s", 119 * time.Second: "in 119 s", 2 * time.Minute: "in 2 min", -3 * time.Hour: "3 h ago", 47 * time.Hour: "in 47 h", -48 * time.Hour: "2 d ago",
	} {
		if got := (moment{now.Add(away), now}).String(); !strings.HasSuffix(got, "UTC, "+want) {
			t.Errorf("%v: %s, want %s", away, got, want)
		}
	}
	if got := (moment{now: now}).String(); got != "-" {
		t.Error(got)
	}
}
