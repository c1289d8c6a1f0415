package mtasts_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/mxseal/mxseal/mtasts"
)

// STS-1, STS-62: the domain is looked up as given, in A-labels, and no parent domain
// is.
func TestLookupAsksInALabels(t *testing.T) {
	for given, want := range map[string]string{
		"example.com":              "example.com",
		"Example.COM":              "example.com",
		"example.com.":             "example.com",
		"mail.example.com":         "mail.example.com",
		"b\u00fccher.example":      "xn--bcher-kva.example",
		"B\u00dcCHER.example.":     "xn--bcher-kva.example",
		"xn--bcher-kva.example":    "xn--bcher-kva.example",
		"b\u00fccher\u3002example": "xn--bcher-kva.example",
		"my_domain.example":        "my_domain.example",
		"r3---sn-x.example":        "r3---sn-x.example",
		"1.example":                "1.example",
		"localhost":                "localhost",
	} {
		t.Run(given, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(t)
				w.txts = nil
				r, err := w.client(t).Lookup(context.Background(), given)
				if err != nil || r.Domain != want {
					t.Errorf("domain %q, %v, want %q", r.Domain, err, want)
				}
				if len(w.queries) != 1 || w.queries[0] != "_mta-sts."+want+"." {
					t.Errorf("asked %q", w.queries)
				}
			})
		})
	}
}

// STS-61: address literals and malformed names are refused, without a query.
func TestLookupRefusesNames(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.client(t)
	for _, name := range []string{
		"", ".", "..", "[192.0.2.1]", "[IPv6:2001:db8::1]", "192.0.2.1", "192.0.2.1.", "2001:db8::1",
		"\uff11\uff19\uff12.0.2.1", // full-width digits
		".example.com", "example..com", "example.com..", "-a.example", "a-.example",
		"a b.example", "a\x00.example", "a/../b", "user@example.com", "example.com:443", "*.example.com",
		"xn--\u00fc.example", "\xff.example", "\ufffd.example", "\xc3.example", "\u200d.example",
		strings.Repeat("a", 64) + ".example", strings.Repeat("a.", 127) + "a",
		strings.Repeat("\u00fc", 64) + ".example",
	} {
		if r, err := c.Lookup(context.Background(), name); !errors.Is(err, mtasts.ErrDomain) {
			t.Errorf("%q: %+v, %v, want ErrDomain", name, r, err)
		} else if strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Errorf("error text %q", err)
		}
	}
	wantCounts(t, w, 0, 0)
}

// A domain can be too long for a name below it at "_mta-sts". It has no policy, and
// that is not an error.
func TestLookupLongName(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	name := strings.Repeat("a.", 122) + "aa" // 246 octets
	r, err := w.client(t).Lookup(context.Background(), name)
	if err != nil || r.Policy != nil || r.Err != nil || r.Domain != name {
		t.Errorf("%+v, %v", r, err)
	}
	wantCounts(t, w, 0, 0)
}
