package dnssec

import (
	"strings"

	"github.com/miekg/dns"
)

// maxPrefetch bounds how many names on the way down are asked for in advance;
// mail hosts are no deeper.
const maxPrefetch = 8

// prefetch sends for the DS and DNSKEY records of name and its ancestors that
// are not known yet, all at once and without waiting, so that proving the
// answer takes no longer than getting it. Which of the names are zones is not
// known: guesses that are wrong cost a small query, and those that are surely
// wrong, names with an underscore (RFC 8552) and names known to be inside a
// zone, are left out.
func (s *session) prefetch(name string) {
	if s.v.answersLocally(name) {
		return
	}
	for i, at := range ancestors(name) {
		if s.budget.queries < s.budget.limits.Queries/2 {
			return // guesses must not use up what a long chain of aliases needs
		}
		if i > maxPrefetch || strings.HasPrefix(at, "_") {
			return
		}
		known := s.knownCut(at)
		if known != nil && known.kind != signed && known.kind != sameZone {
			return
		}
		if known != nil || s.v.cache.get(cacheKey{name: at, kind: cachedZone}, s.now) != nil {
			continue
		}
		if at != "." && s.startFirst(question{at, dns.TypeDS}) != nil {
			return
		}
		if s.startFirst(question{at, dns.TypeDNSKEY}) != nil {
			return
		}
	}
}

func (s *session) knownCut(name string) *cut {
	if known := s.cuts[name]; known.cut != nil {
		return known.cut
	}
	c, _ := s.v.cache.get(cacheKey{name: name, kind: cachedCut}, s.now).(*cut)
	return c
}

func (s *session) startFirst(q question) error {
	_, err := s.start(s.tries[0], q)
	return err
}
