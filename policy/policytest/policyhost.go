package policytest

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
)

// PolicyHost serves the MTA-STS policy of a domain (RFC 8461 section 3.3).
// Break makes it fail.
type PolicyHost struct {
	server

	// Below server.mu.
	text    string
	ids     int
	fetches int
}

// policyPath is where a policy is found, RFC 8461 section 3.3.
const policyPath = "/.well-known/mta-sts.txt"

func newPolicyHost(d *Domain) *PolicyHost {
	p := &PolicyHost{server: server{domain: d, name: "mta-sts." + d.name, key: newKey()}}
	web := &http.Server{
		Handler:   http.HandlerFunc(p.serve),
		TLSConfig: p.tlsConfig("h2", "http/1.1"),
		ErrorLog:  log.New(io.Discard, "", 0),
	}
	real := d.inet.listen(func(l net.Listener) { web.ServeTLS(l, "", "") }, web.Close)
	p.publish(443, real)
	return p
}

// Publish changes the policy and announces it under a new id. The text may be
// anything, valid or not.
func (p *PolicyHost) Publish(text string) {
	p.mu.Lock()
	p.text = text
	p.ids++
	id := fmt.Sprint(p.ids)
	p.mu.Unlock()
	p.Announce(id)
}

// Announce changes the id in the domain's _mta-sts record and nothing else, as
// an attacker does who cannot change the policy.
func (p *PolicyHost) Announce(id string) {
	p.domain.Set(fmt.Sprintf(`_mta-sts TXT "v=STSv1; id=%s;"`, id))
}

// Fetches returns how often the policy was asked for, with or without success,
// by clients that completed the TLS handshake.
func (p *PolicyHost) Fetches() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fetches
}

func (p *PolicyHost) serve(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != policyPath {
		http.NotFound(w, r)
		return
	}
	p.mu.Lock()
	p.fetches++
	text := p.text
	p.mu.Unlock()
	b := p.behaviour()
	switch b.replies[Fetch] {
	case stall:
		p.domain.inet.wait(r.Context())
		fallthrough
	case hangUp:
		panic(http.ErrAbortHandler)
	}
	if b.http != nil {
		b.http(w, r)
		return
	}
	w.Header().Set("Content-Type", "text/plain")
	io.WriteString(w, text)
}

// policyText writes a policy in the form of RFC 8461 section 3.2.
func policyText(mode string, mx []string) string {
	var text strings.Builder
	fmt.Fprintf(&text, "version: STSv1\r\nmode: %s\r\n", mode)
	for _, pattern := range mx {
		fmt.Fprintf(&text, "mx: %s\r\n", pattern)
	}
	text.WriteString("max_age: 604800\r\n")
	return text.String()
}
