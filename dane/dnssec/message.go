package dnssec

import (
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// rrset is the records of one name and type with the signatures that claim to
// cover them. Signatures are kept with the name and the type that they cover:
// one of another owner must never vouch for it.
type rrset struct {
	name    string // canonical
	rtype   uint16
	records []dns.RR
	sigs    []*dns.RRSIG
}

func (s *rrset) question() question { return question{s.name, s.rtype} }

// ttl is the smallest TTL of the records. RFC 2181 section 8: one with the
// most significant bit set is zero.
func (s *rrset) ttl() uint32 { return minTTL(s.records) }

func minTTL(records []dns.RR) uint32 {
	least := uint32(maxTTL)
	for _, rr := range records {
		ttl := rr.Header().Ttl
		if ttl > 1<<31-1 {
			ttl = 0
		}
		least = min(least, ttl)
	}
	return least
}

// maxTTL is the longest that anything is kept, in seconds.
const maxTTL = 24 * 60 * 60

// section is the RRsets of the answer or the authority section.
type section []*rrset

// reply is a DNS message that answers a question, arranged for validation. It
// is shared and read-only.
type reply struct {
	server    *server
	octets    int // of the message
	rcode     int
	ad        bool
	answer    section
	authority section
	foreign   bool // the authority section has records that no answer needs
	extended  []ExtendedError
}

// newReply arranges msg. An rcode other than NOERROR and NXDOMAIN is an error:
// it says nothing about the name (RFC 7672 section 2.1.1).
func newReply(msg *dns.Msg, q question, from *server) (*reply, error) {
	r := &reply{server: from, rcode: msg.Rcode, ad: msg.AuthenticatedData, extended: extendedErrors(msg)}
	if msg.Rcode != dns.RcodeSuccess && msg.Rcode != dns.RcodeNameError {
		reason := OtherRcode
		switch msg.Rcode {
		case dns.RcodeServerFailure:
			reason = ServerFailure
		case dns.RcodeRefused:
			reason = Refused
		}
		return nil, r.blame(failure(q, reason, "the server answered %s", rcodeName(msg.Rcode)))
	}
	r.answer, _ = newSection(msg.Answer, q)
	r.authority, r.foreign = newSection(msg.Ns, q)
	r.authority = r.authority.apart()
	return r, nil
}

// present checks that a reply which holds the records asked for says so, and
// does not say as well that their name is an alias, where no records are (RFC
// 2181 section 10.1, RFC 6672 section 2.4).
func (r *reply) present(q question) error {
	switch {
	case r.rcode != dns.RcodeSuccess:
		return failure(q, Malformed, "the server answers, and says %s", rcodeName(r.rcode))
	case r.dname(q.name) != nil, q.rtype != dns.TypeCNAME && r.answer.find(q.name, dns.TypeCNAME) != nil:
		return failure(q, AliasInvalid, "the server answers, and says that the name is an alias")
	default:
		return nil
	}
}

// blame says which server an error came from and what it had to say.
func (r *reply) blame(e *Error) *Error {
	e.Server = r.server.String()
	e.Extended = r.extended
	return e
}

func rcodeName(rcode int) string {
	if name := dns.RcodeToString[rcode]; name != "" {
		return name
	}
	return "an unknown code"
}

// extendedErrors returns the Extended DNS Errors of msg, made safe to print.
func extendedErrors(msg *dns.Msg) []ExtendedError {
	opt := msg.IsEdns0()
	if opt == nil {
		return nil
	}
	var list []ExtendedError
	for _, option := range opt.Option {
		if ede, ok := option.(*dns.EDNS0_EDE); ok && len(list) < 8 {
			list = append(list, ExtendedError{Code: ede.InfoCode, Text: printable(ede.ExtraText, 200)})
		}
	}
	return list
}

// printable replaces what could trick a terminal or a log, and shortens.
func printable(text string, limit int) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, text)
	return text[:min(len(text), limit)]
}

// matters reports whether records of the type can be part of an answer to q.
func matters(rtype uint16, q question) bool {
	switch rtype {
	case q.rtype, dns.TypeCNAME, dns.TypeDNAME, dns.TypeNSEC, dns.TypeNSEC3, dns.TypeSOA, dns.TypeNS:
		return true
	default:
		return false
	}
}

// newSection arranges the records that matter for q, and reports whether there
// are others. Those are not kept, so as not to spend memory on them.
func newSection(records []dns.RR, q question) (sets section, foreign bool) {
	index := make(map[question]*rrset)
	at := func(name string, rtype uint16) *rrset {
		key := question{name, rtype}
		set := index[key]
		if set == nil {
			set = &rrset{name: name, rtype: rtype}
			index[key] = set
			sets = append(sets, set)
		}
		return set
	}
	for _, rr := range records {
		h := rr.Header()
		if h.Class != dns.ClassINET || h.Rrtype == dns.TypeOPT {
			continue
		}
		sig, isSig := rr.(*dns.RRSIG)
		if isSig && !matters(sig.TypeCovered, q) {
			continue
		}
		if !isSig && !matters(h.Rrtype, q) {
			foreign = true
			continue
		}
		h.Name = dns.CanonicalName(h.Name)
		if isSig {
			sig.SignerName = dns.CanonicalName(sig.SignerName)
			set := at(h.Name, sig.TypeCovered)
			set.sigs = append(set.sigs, sig)
			continue
		}
		set := at(h.Name, h.Rrtype)
		set.records = append(set.records, rr)
	}
	return sets, foreign
}

// apart separates the NSEC records of the two sides of a zone cut. Both have
// the same owner and are RRsets of their own (RFC 4035 section 2.3); a resolver
// that follows an alias from the zone above to the one below may send them in
// one reply. Which signature is whose shows when they are verified.
func (s section) apart() section {
	var sets section
	for _, set := range s {
		records := set.distinct()
		bySeveral := slices.ContainsFunc(set.sigs, func(sig *dns.RRSIG) bool { return sig.SignerName != set.sigs[0].SignerName })
		if set.rtype != dns.TypeNSEC || len(records) < 2 || !bySeveral {
			sets = append(sets, set)
			continue
		}
		for _, rr := range records {
			sets = append(sets, &rrset{name: set.name, rtype: set.rtype, records: []dns.RR{rr}, sigs: set.sigs})
		}
	}
	return sets
}

// distinct returns the records without duplicates (RFC 2181 section 5.5). It
// compares wire forms: the text of a record can cost far more than the record.
func (s *rrset) distinct() []dns.RR {
	if len(s.records) == 1 {
		return s.records
	}
	seen := make(map[string]bool)
	return slices.DeleteFunc(slices.Clone(s.records), func(rr dns.RR) bool {
		data := string(rdata(rr))
		again := seen[data]
		seen[data] = true
		return again
	})
}

// find returns the RRset, or nil if there are no records of it.
func (s section) find(name string, rtype uint16) *rrset {
	for _, set := range s {
		if set.rtype == rtype && set.name == name && len(set.records) > 0 {
			return set
		}
	}
	return nil
}
