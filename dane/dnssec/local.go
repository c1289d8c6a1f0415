package dnssec

import (
	"net"
	"time"

	"github.com/miekg/dns"
)

// answersLocally reports whether name is one of the special-use names that a
// resolver library should not, or must not, send to any server: those at and
// below localhost (RFC 6761 section 6.3), invalid (section 6.4) and onion (RFC
// 7686 section 2).
//
// Names in the reverse zones of private addresses (RFC 6303) and below test are
// sent on, because a library should not treat those as special (RFC 6761
// sections 6.1 and 6.2).
func (v *Validator) answersLocally(name string) bool {
	return v.local && (within(name, "localhost.") || within(name, "invalid.") || within(name, "onion."))
}

// localAnswer answers for such a name: localhost is this host, and nothing
// exists below the others. The answers are insecure: nobody has signed them.
func localAnswer(q question, now time.Time) *Answer {
	a := &Answer{Name: q.name, Status: Insecure, Expires: after(now, maxTTL)}
	header := dns.RR_Header{Name: q.name, Rrtype: q.rtype, Class: dns.ClassINET, Ttl: maxTTL}
	switch {
	case !within(q.name, "localhost."):
		a.Rcode = dns.RcodeNameError
	case q.rtype == dns.TypeA:
		a.Records = []dns.RR{&dns.A{Hdr: header, A: net.IPv4(127, 0, 0, 1)}}
	case q.rtype == dns.TypeAAAA:
		a.Records = []dns.RR{&dns.AAAA{Hdr: header, AAAA: net.IPv6loopback}}
	}
	return a
}
