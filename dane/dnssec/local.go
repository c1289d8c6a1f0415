package dnssec

import (
	"net"
	"time"
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
	record := Record{Name: q.name, Type: Type(q.rtype), TTL: maxTTL * time.Second}
	switch {
	case !within(q.name, "localhost."):
		a.NXDomain = true
	case record.Type == TypeA:
		record.Data = []byte{127, 0, 0, 1}
		a.Records = []Record{record}
	case record.Type == TypeAAAA:
		record.Data = net.IPv6loopback
		a.Records = []Record{record}
	}
	return a
}
