package web

import (
	"crypto/sha256"
	"encoding/base64"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// guard is the handler around all others. There is no authentication, so it refuses what a page of another
// site can make a browser of this machine ask for.
type guard struct {
	names []string
	next  http.Handler
}

func (g guard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", contentPolicy())
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Type", "text/plain; charset=utf-8")
	if !g.knows(r.Host) {
		// An attacker can point a name of his own to this server ("DNS rebinding"). To the browser, these pages
		// would then belong to the attacker's site.
		http.Error(w, "the name in the URL is not one of this server: use localhost or an IP address, or add the name to http.names", http.StatusMisdirectedRequest)
		return
	}
	if dest := r.Header.Get("Sec-Fetch-Dest"); isForeign(r) && dest != "" && dest != "document" {
		// An image or a frame shows nothing. But each page reads all that is known, so that many of them would keep
		// this server busy.
		http.Error(w, "refused: a page of another site sent this request", http.StatusForbidden)
		return
	}
	g.next.ServeHTTP(w, r)
}

// knows reports whether a Host header is one that no attacker can choose: an address, or a name of ours.
func (g guard) knows(host string) bool {
	name := host
	if before, _, err := net.SplitHostPort(host); err == nil {
		name = before
	}
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if _, err := netip.ParseAddr(strings.Trim(name, "[]")); err == nil {
		return true
	}
	return name == "localhost" || slices.Contains(g.names, name)
}

// isForeign reports whether a page of another site made the browser ask (Fetch Metadata). Browsers that do
// not say so, and other programs, are not foreign.
func isForeign(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "cross-site", "same-site":
		return true
	default:
		return false
	}
}

// contentPolicy permits our style sheet and our form, and nothing else.
func contentPolicy() string {
	sum := sha256.Sum256([]byte(sheet()))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
}
