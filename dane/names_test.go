package dane_test

import (
	"crypto/x509"
	"slices"
	"strings"
	"testing"

	"github.com/mxseal/mxseal/dane"
	"github.com/mxseal/mxseal/internal/test/testpki"
)

// DANE-88 to DANE-94, OPS-20, OPS-33, field notes 10 and 24.
func TestReferenceNames(t *testing.T) {
	t.Parallel()
	// The example of RFC 7672 section 3.2.2, DANE-93.
	exchange := dane.Route{Secure: true, NextHop: "exchange.example.org", Expanded: "example.com."}
	for _, test := range []struct {
		what  string
		base  string
		route dane.Route
		want  []string
	}{
		{"mx10", "mx10.example.com", exchange, []string{"mx10.example.com", "exchange.example.org", "example.com"}},
		{"mx15, an alias with TLSA at its own name", "mx15.example.com", exchange, []string{"mx15.example.com", "exchange.example.org", "example.com"}},
		{"mx20, an alias with TLSA at its target", "mxbackup.example.net", exchange, []string{"mxbackup.example.net", "exchange.example.org", "example.com"}},
		{"DANE-89 secure MX", "mx.example.org", dane.Route{Secure: true, NextHop: "example.org"}, []string{"mx.example.org", "example.org"}},
		{"expansion is no other", "mx.example.org", dane.Route{Secure: true, NextHop: "example.org", Expanded: "EXAMPLE.org."}, []string{"mx.example.org", "example.org"}},
		{"domain is its own MX", "example.org.", dane.Route{Secure: true, NextHop: "Example.ORG"}, []string{"example.org"}},
		{"DANE-92 insecure MX", "mx.example.org", dane.Route{NextHop: "example.org", Expanded: "example.net"}, []string{"mx.example.org"}},
		{"DANE-91 no MX, base is the expansion", "host.example.net", dane.Route{Secure: true, NextHop: "example.org"}, []string{"host.example.net", "example.org"}},
		{"no MX, base is the domain", "example.org", dane.Route{Secure: true, NextHop: "example.org"}, []string{"example.org"}},
		{"the operator's relay", "relay.example.net", dane.Route{Secure: true, NextHop: "relay.example.net"}, []string{"relay.example.net"}},
		{"zero route", "MX.example.org.", dane.Route{}, []string{"mx.example.org"}},
	} {
		if got := dane.ReferenceNames(test.base, test.route); !slices.Equal(got, test.want) {
			t.Errorf("%s: got %q, want %q", test.what, got, test.want)
		}
	}
}

// DANE-95 to DANE-99, AMB-14: which names in a certificate match.
func TestVerifyMatchesNames(t *testing.T) {
	t.Parallel()
	root := testpki.Root(t, "Root")
	records := []dane.Record{newRecord(t, "2 0 1", root.Cert)}
	long := strings.Repeat("a", 64) + ".example.org"
	for _, test := range []struct {
		dnsNames  []string
		cn        string
		reference string
		match     bool
	}{
		{mxNames, "", mx, true},
		{mxNames, "", "MX.Example.ORG.", true},
		{[]string{"MX.EXAMPLE.ORG"}, "", mx, true},
		{[]string{"other.example.net", mx}, "", mx, true},
		{[]string{"example.org"}, "", mx, false},
		{[]string{"mx.example.org.evil.example"}, "", mx, false},
		{[]string{"evilmx.example.org"}, "", mx, false},
		{[]string{"xn--bcher-kva.example"}, "", "XN--bcher-KVA.example", true},
		{[]string{"mx_1.example.org"}, "", "mx_1.example.org", true},
		{[]string{"localhost"}, "", "localhost", true},
		// Wildcards: DANE-97 to DANE-99.
		{[]string{"*.example.org"}, "", mx, true},
		{[]string{"*.Example.Org"}, "", mx, true},
		{[]string{"*.example.org"}, "", "xn--bcher-kva.example.org", true},
		{[]string{"*.example.org"}, "", "example.org", false},
		{[]string{"*.example.org"}, "", "a.mx.example.org", false},
		{[]string{"m*.example.org"}, "", mx, false},
		{[]string{"*x.example.org"}, "", mx, false},
		{[]string{"*mx.example.org"}, "", mx, false},
		{[]string{"mx.*.org"}, "", mx, false},
		{[]string{"*.*.org"}, "", mx, false},
		{[]string{"*.org"}, "", "example.org", false},
		{[]string{"*"}, "", "localhost", false},
		{[]string{"*."}, "", "localhost", false},
		{[]string{"*.example.org"}, "", "*.example.org", false},
		// The common name counts if there is no DNS-ID: DANE-95, AMB-14.
		{nil, mx, mx, true},
		{nil, "*.example.org", mx, true},
		{nil, "MX.example.org", mx, true},
		{nil, "other.example.org", mx, false},
		{[]string{"other.example.org"}, mx, mx, false},
		{nil, "", mx, false},
		// Hostile names, in certificates and from DNS.
		{[]string{"mx.example.org\x00.evil.example"}, "", mx, false},
		{[]string{"mx.example.org\x00"}, "", mx, false},
		{[]string{"mx.example.org."}, "", mx, false},
		{[]string{".example.org"}, "", mx, false},
		{[]string{"mx..example.org"}, "", "mx..example.org", false},
		{[]string{"mx example.org"}, "", "mx example.org", false},
		{nil, "mx.example.org\x00.evil.example", mx, false},
		{nil, "mx.example.or\u212a", "mx.example.ork", false}, // the Kelvin sign
		{nil, "b\u00fccher.example", "b\u00fccher.example", false},
		{[]string{""}, mx, "", false},
		{[]string{""}, mx, mx, false},
		{[]string{"."}, "", ".", false},
		{[]string{long}, "", long, false},
	} {
		leaf := root.Server(t, test.dnsNames, testpki.CommonName(test.cn))
		match, err := dane.Verify(testpki.Chain(leaf, root), records, []string{"nobody.example", test.reference}, testpki.Now)
		if (err == nil) != test.match {
			t.Errorf("names %q, common name %q for %q: %v", test.dnsNames, test.cn, test.reference, err)
		}
		if err == nil && match.Name != test.reference {
			t.Errorf("matched name is %q, want %q", match.Name, test.reference)
		}
	}
	// DANE-87: no reference identifier matches nothing.
	if _, err := dane.Verify(testpki.Chain(root.Server(t, mxNames), root), records, nil, testpki.Now); err == nil {
		t.Error("accepted for no name")
	}
}

// AMB-14, field note 22: a common name does not escape the name constraints,
// which the standard library applies to alternative names only.
func TestVerifyCommonNameConstraints(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		what   string
		change testpki.Change
		cn     string
		match  bool
	}{
		{"permitted", testpki.Permit("example.org"), mx, true},
		{"permitted, upper case", testpki.Permit("EXAMPLE.org"), mx, true},
		{"permitted with a leading dot", testpki.Permit(".example.org"), mx, true},
		{"one of two permitted", testpki.Permit("example.net", "mx.example.org"), mx, true},
		{"not permitted", testpki.Permit("example.net"), mx, false},
		{"not permitted, longer label", testpki.Permit("ample.org"), mx, false},
		{"wildcard for a name not permitted", testpki.Permit("other.example.org"), "*.example.org", false},
		{"excluded", testpki.Exclude("example.org"), mx, false},
		{"wildcard for an excluded name", testpki.Exclude("mx.example.org"), "*.example.org", false},
		{"another excluded", testpki.Exclude("example.net"), mx, true},
		{"leading dot leaves out the name itself", testpki.Exclude(".mx.example.org"), mx, true},
	} {
		root := testpki.Root(t, "Root", test.change)
		inter := root.Authority(t, "Intermediate")
		leaf := inter.Server(t, nil, testpki.CommonName(test.cn), func(c *x509.Certificate) { c.Subject.Organization = nil })
		_, err := dane.Verify(testpki.Chain(leaf, inter, root), []dane.Record{newRecord(t, "2 0 1", root.Cert)}, mxNames, testpki.Now)
		if (err == nil) != test.match {
			t.Errorf("%s: %v", test.what, err)
		}
	}
}
