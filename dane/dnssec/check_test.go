package dnssec

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/dane/dnssec/internal/upstream"
)

// on changes the replies to one question.
func (w *world) on(name string, qtype uint16, bend func(m *dns.Msg)) {
	w.settle()
	w.mangle = func(_, _ string, m *dns.Msg) *dns.Msg {
		if m.Question[0].Name == name && m.Question[0].Qtype == qtype {
			bend(m)
		}
		return m
	}
}

// expect looks up a name with a new validator and checks that there is an answer
// with the status.
func (w *world) expect(t *testing.T, name string, qtype uint16, status Status, edits ...func(*Config)) *Answer {
	t.Helper()
	a, err := w.lookup(name, qtype, edits...)
	if err != nil {
		t.Errorf("%s %s: %v", name, dns.Type(qtype), err)
		return &Answer{}
	}
	if a.Status != status {
		t.Errorf("%s %s is %v, want %v", name, dns.Type(qtype), a.Status, status)
	}
	return a
}

// expectError looks up a name with a new validator and checks that it fails for one
// of the reasons.
func (w *world) expectError(t *testing.T, name string, qtype uint16, reasons ...Reason) *Error {
	t.Helper()
	a, err := w.lookup(name, qtype)
	var e *Error
	if !errors.As(err, &e) {
		t.Errorf("%s %s: answer %+v, error %v; want an *Error", name, dns.Type(qtype), a, err)
		return &Error{}
	}
	if !slices.Contains(reasons, e.Reason) {
		t.Errorf("%s %s: reason %v, want %v (%v)", name, dns.Type(qtype), e.Reason, reasons, err)
	}
	if e.Status == Bogus != e.Reason.bogus() {
		t.Errorf("status %v for the reason %v", e.Status, e.Reason)
	}
	return e
}

// without returns the records of which drop is false.
func without(records []dns.RR, drop func(dns.RR) bool) []dns.RR {
	return slices.DeleteFunc(slices.Clone(records), drop)
}

func isType(types ...uint16) func(dns.RR) bool {
	return func(rr dns.RR) bool { return slices.Contains(types, rr.Header().Rrtype) }
}

func isCovering(rtype uint16) func(dns.RR) bool {
	return func(rr dns.RR) bool {
		sig, ok := rr.(*dns.RRSIG)
		return ok && sig.TypeCovered == rtype
	}
}

// strip removes all DNSSEC records from a reply.
func strip(m *dns.Msg) {
	m.Answer = without(m.Answer, isType(dns.TypeRRSIG, dns.TypeNSEC, dns.TypeNSEC3))
	m.Ns = without(m.Ns, isType(dns.TypeRRSIG, dns.TypeNSEC, dns.TypeNSEC3))
}

// eachSignature calls edit for each signature in the answer section.
func eachSignature(m *dns.Msg, edit func(*dns.RRSIG)) {
	for _, rr := range m.Answer {
		if sig, ok := rr.(*dns.RRSIG); ok {
			edit(sig)
		}
	}
}

func mentions(t *testing.T, err error, words ...string) {
	t.Helper()
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("error does not mention %q: %v", word, err)
		}
	}
}

// rcodeOf returns the response code of an answer.
func rcodeOf(a *Answer) int {
	if a.NXDomain {
		return dns.RcodeNameError
	}
	return dns.RcodeSuccess
}

// zoneText returns the records as text, one per line.
func zoneText[T dns.RR](records ...T) string {
	var b strings.Builder
	for _, rr := range records {
		b.WriteString(rr.String() + "\n")
	}
	return b.String()
}

func servers(v *Validator) []*upstream.Server {
	list, _ := v.client.Servers()
	return list
}

// exchange makes one attempt at the first server.
func (v *Validator) exchange(ctx context.Context, stream bool, q question) (*reply, error) {
	ctx, cancel := context.WithTimeout(ctx, v.client.Timeout())
	defer cancel()
	msg, err := v.client.Exchange(ctx, upstream.Attempt{Server: servers(v)[0], Stream: stream}, upstream.Question{Name: q.name, Type: q.rtype})
	if err != nil {
		return nil, asError(q, err)
	}
	return newReply(msg, q)
}
