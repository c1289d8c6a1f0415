package policytest

import (
	"fmt"
	"io"
	"net/http"
	"strings"
)

// PolicyHost serves the MTA-STS policy of a domain (RFC 8461 section 3.3).
// Break makes it fail. It is safe for concurrent use.
type PolicyHost struct {
	Web
	// Guarded by server.mu.
	text string
	ids  int
}

// policyPath is defined in RFC 8461 section 3.3.
const policyPath = "/.well-known/mta-sts.txt"

func newPolicyHost(d *Domain) *PolicyHost {
	p := &PolicyHost{Web: Web{server: server{domain: d, name: "mta-sts." + d.name}}}
	p.start(http.HandlerFunc(p.serve))
	return p
}

// Publish replaces the policy and announces it with a new id. The text may be
// invalid.
func (p *PolicyHost) Publish(text string) {
	p.mu.Lock()
	p.text = text
	p.ids++
	id := fmt.Sprint(p.ids)
	p.mu.Unlock()
	p.Announce(id)
}

// Announce changes the id in the domain's _mta-sts record without changing the
// policy, as an attacker can who controls only the DNS.
func (p *PolicyHost) Announce(id string) {
	p.domain.Set(fmt.Sprintf(`_mta-sts TXT "v=STSv1; id=%s;"`, id))
}

// Fetches returns how many times the policy was requested. It counts all
// requests after a completed TLS handshake, successful or not.
func (p *PolicyHost) Fetches() (n int) {
	for _, request := range p.Requests() {
		if request == "GET "+policyPath {
			n++
		}
	}
	return n
}

func (p *PolicyHost) serve(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != policyPath {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "text/plain")
	io.WriteString(w, p.current())
}

func (p *PolicyHost) current() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text
}

// policyText returns a policy in the format of RFC 8461 section 3.2.
func policyText(mode string, mx []string) string {
	var text strings.Builder
	fmt.Fprintf(&text, "version: STSv1\r\nmode: %s\r\n", mode)
	for _, pattern := range mx {
		fmt.Fprintf(&text, "mx: %s\r\n", pattern)
	}
	text.WriteString("max_age: 604800\r\n")
	return text.String()
}
