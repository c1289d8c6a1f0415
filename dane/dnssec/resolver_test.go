package dnssec

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/miekg/dns"
)

func resolverWorld(t *testing.T) *world {
	w := newWorld(t)
	w.zone("example.",
		`_mta-sts.example. 60 IN TXT "v=STSv1; " "id=2026;"`,
		`_mta-sts.example. 60 IN TXT "quote \" slash \\ octet \255"`,
		"both.example. 60 IN A 192.0.2.1", "both.example. 60 IN AAAA 2001:db8::1", "both.example. 60 IN AAAA ::ffff:192.0.2.9",
		"four.example. 60 IN A 192.0.2.4",
		"alias.example. 60 IN CNAME both.example.",
	)
	return w
}

// STS-12, RPT-4: the character-strings of a record are joined without spaces.
func TestTXTStringsAreJoined(t *testing.T) {
	t.Parallel()
	w := resolverWorld(t)
	v := w.validator()
	txts, expires, err := v.LookupTXTUntil(t.Context(), "_mta-sts.example")
	slices.Sort(txts)
	if err != nil || !slices.Equal(txts, []string{"quote \" slash \\ octet \xff", "v=STSv1; id=2026;"}) {
		t.Errorf("%q, %v", txts, err)
	}
	if !expires.Equal(w.now.Add(time.Minute)) {
		t.Errorf("expires at %v", expires)
	}
	if txts, err := v.LookupTXT(t.Context(), "_mta-sts.example"); err != nil || len(txts) != 2 {
		t.Errorf("%q, %v", txts, err)
	}
	for _, name := range []string{"none.example", "both.example"} {
		_, expires, err := v.LookupTXTUntil(t.Context(), name)
		var notFound *net.DNSError
		if !errors.As(err, &notFound) || !notFound.IsNotFound || !expires.After(w.now) {
			t.Errorf("%s: %v until %v", name, err, expires)
		}
	}
	w.on("four.example.", dns.TypeTXT, func(m *dns.Msg) { m.Rcode = dns.RcodeServerFailure })
	var e *Error
	if _, _, err := v.LookupTXTUntil(t.Context(), "four.example"); !errors.As(err, &e) || e.Reason != ServerFailure {
		t.Errorf("error is %v", err)
	}
}

// DANE-63: a failed lookup of one family does not affect the addresses of the
// other, but if the other has none, it does not prove that there are none.
func TestOneFailedFamilyLeavesTheOther(t *testing.T) {
	t.Parallel()
	w := resolverWorld(t)
	addr := netip.MustParseAddr
	four, six, mapped := addr("192.0.2.1"), addr("2001:db8::1"), addr("::ffff:192.0.2.9")
	check := func(network, host string, want ...netip.Addr) {
		t.Helper()
		got, err := w.validator().LookupNetIP(t.Context(), network, host)
		slices.SortFunc(got, netip.Addr.Compare)
		slices.SortFunc(want, netip.Addr.Compare)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s %s: %v, %v", network, host, got, err)
		}
	}
	fails := func(network, host string, notFound bool) {
		t.Helper()
		got, err := w.validator().LookupNetIP(t.Context(), network, host)
		var dnsError *net.DNSError
		if err == nil || notFound != (errors.As(err, &dnsError) && dnsError.IsNotFound) {
			t.Errorf("%s %s: %v, %v", network, host, got, err)
		}
	}
	check("ip", "both.example", four, six, mapped)
	check("ip4", "both.example", four)
	check("ip6", "both.example", six, mapped)
	check("ip", "alias.example", four, six, mapped)
	check("ip", "four.example", addr("192.0.2.4"))
	check("ip", "192.0.2.7", addr("192.0.2.7"))
	check("ip6", "2001:db8::7", addr("2001:db8::7"))
	fails("ip6", "four.example", true)
	fails("ip", "none.example", true)
	fails("ip6", "192.0.2.7", true)
	fails("tcp", "four.example", false)

	w.on("both.example.", dns.TypeAAAA, strip)
	check("ip", "both.example", four)
	fails("ip6", "both.example", false)
	w.on("four.example.", dns.TypeA, strip)
	fails("ip", "four.example", false)
}
