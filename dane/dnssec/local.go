package dnssec

import (
	"net"
	"time"

	"github.com/miekg/dns"
)

// localAnswer answers for the special-use names that a resolver library should
// not, or must not, send to any server, and returns nil for all others:
// localhost is this host (RFC 6761 section 6.3), and nothing exists below
// invalid (section 6.4) and onion (RFC 7686 section 2). The answers are
// insecure: nobody has signed them.
//
// Names in the reverse zones of private addresses (RFC 6303) and below test are
// sent on, because a library should not treat those as special (RFC 6761
// sections 6.1 and 6.2).
func localAnswer(q question, now time.Time) *Answer {
	a := &Answer{Name: q.name, Status: Insecure, Expires: after(now, maxTTL)}
	header := dns.RR_Header{Name: q.name, Rrtype: q.rtype, Class: dns.ClassINET, Ttl: maxTTL}
	switch {
	case within(q.name, "invalid."), within(q.name, "onion."):
		a.Rcode = dns.RcodeNameError
	case !within(q.name, "localhost."):
		return nil
	case q.rtype == dns.TypeA:
		a.Records = []dns.RR{&dns.A{Hdr: header, A: net.IPv4(127, 0, 0, 1)}}
	case q.rtype == dns.TypeAAAA:
		a.Records = []dns.RR{&dns.AAAA{Hdr: header, AAAA: net.IPv6loopback}}
	}
	return a
}
