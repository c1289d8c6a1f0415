package dnssec

import (
	"context"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/dane/dnssec/internal/private"
)

// RFC 6761 sections 6.3 and 6.4, RFC 7686: special-use names are answered without a
// server, unless the anchors are of another root than that of IANA.
func TestSpecialNamesAreAnsweredLocally(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, tt := range []struct {
		name  string
		qtype uint16
		rcode int
		data  string
	}{
		{"localhost", dns.TypeA, 0, "127.0.0.1"},
		{"LOCALHOST.", dns.TypeAAAA, 0, "::1"},
		{"mx.localhost", dns.TypeA, 0, "127.0.0.1"},
		{"localhost", dns.TypeMX, 0, ""},
		{"_25._tcp.localhost", dns.TypeTLSA, 0, ""},
		{"invalid", dns.TypeMX, dns.RcodeNameError, ""},
		{"mx.example.invalid", dns.TypeA, dns.RcodeNameError, ""},
		{"mail.example.onion", dns.TypeAAAA, dns.RcodeNameError, ""},
	} {
		a := w.expect(t, tt.name, tt.qtype, Insecure, func(c *Config) { c.Anchors = "" })
		data := ""
		for _, record := range a.Records {
			data += record.Content()
		}
		if rcodeOf(a) != tt.rcode || data != tt.data {
			t.Errorf("%s %s: %+v", tt.name, dns.Type(tt.qtype), a)
		}
	}
	if len(w.queries) > 0 {
		t.Errorf("%d queries", len(w.queries))
	}
	for _, name := range []string{"notlocalhost.", "10.in-addr.arpa.", "example.test.", "localhost.example.com.", "."} {
		if private.IsSpecialUse(name) {
			t.Errorf("%s is local", name)
		}
	}
	// A private root may give these names any meaning.
	w.zone("localhost.", "localhost. 60 IN A 10.0.0.1")
	w.zone("invalid.", "mx.invalid. 60 IN A 10.0.0.2")
	for _, name := range []string{"localhost", "mx.invalid"} {
		if a := w.expect(t, name, dns.TypeA, Secure); len(a.Records) != 1 {
			t.Errorf("%s: %+v", name, a)
		}
	}
}

// An alias that leads to a local name ends there, even if the reply continues.
// Answers of servers for such names are never kept.
func TestAliasToLocalNameEndsThere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.zone("com.", "a.com. 60 IN CNAME localhost.", "b.com. 60 IN CNAME x.example.onion.")
	w.zone("localhost.", "localhost. 60 IN A 203.0.113.66")
	w.zone("onion.", "x.example.onion. 60 IN A 203.0.113.66")
	v := w.validator()
	v.local = true // as with the keys of IANA, with which the test cannot sign
	for _, tt := range []struct {
		name  string
		rcode int
		data  string
	}{
		{"a.com", 0, "127.0.0.1"}, {"localhost", 0, "127.0.0.1"},
		{"b.com", dns.RcodeNameError, ""}, {"x.example.onion", dns.RcodeNameError, ""},
	} {
		a, err := v.Lookup(context.Background(), tt.name, TypeA)
		if err != nil || a.Status != Insecure || rcodeOf(a) != tt.rcode {
			t.Errorf("%s: %+v, %v", tt.name, a, err)
			continue
		}
		if len(a.Aliases) > 0 && a.Aliases[0].Status != Secure {
			t.Errorf("%s: %+v", tt.name, a.Aliases)
		}
		data := ""
		for _, record := range a.Records {
			data += record.Content()
		}
		if data != tt.data {
			t.Errorf("%s is at %q, want %q", tt.name, data, tt.data)
		}
	}
	w.settle()
	for question := range w.asked {
		if strings.Contains(question, "localhost") || strings.Contains(question, "onion") {
			t.Errorf("a server was asked for %s", question)
		}
	}
	l := v.newLookup(context.Background())
	defer l.session.close()
	if l.guess(question{"mx.localhost.", dns.TypeA}); len(l.session.started) > 0 {
		t.Errorf("%d guesses about a local name", len(l.session.started))
	}
}
