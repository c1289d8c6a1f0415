package dnssec

import (
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/internal/test/interop/dnsserver"
)

// delegations are zones with unusual DS records in the parent zone.
var delegations = []variant{
	{name: "no-ds", signing: ldnsP256, ds: noDS, want: wants{www: "insecure", missing: "insecure"}},
	{name: "no-ds-broken", signing: ldnsP256, ds: noDS, alter: alterAllSignatures, want: wants{www: "insecure"}},
	{name: "wrong-digest", signing: ldnsP256, ds: wrongDigest, want: wants{www: "bogus"}},
	{name: "wrong-digest-stripped", signing: ldnsP256, ds: wrongDigest, alter: strip, want: wants{www: "bogus"}},
	{name: "other-key", signing: ldnsP256, ds: otherKey, want: wants{www: "bogus"}},
	{name: "other-key-and-right", signing: ldnsP256, ds: both(otherKey, rightDS), want: wants{www: "secure"}},
	{name: "wrong-algorithm", signing: ldnsP256, ds: algorithm(dns.RSASHA256), want: wants{www: "bogus"}},
	{name: "unknown-algorithm", signing: ldnsP256, ds: algorithm(200), want: wants{www: "insecure"}},
	{name: "private-algorithm", signing: ldnsP256, ds: algorithm(dns.PRIVATEDNS), want: wants{www: "insecure"}},
	{name: "obsolete-algorithm", signing: ldnsP256, ds: algorithm(dns.RSAMD5), want: wants{www: "insecure"}},
	{name: "unknown-algorithm-stripped", signing: ldnsP256, ds: algorithm(200), alter: strip,
		want: wants{www: "insecure"}},
	{name: "unknown-algorithm-and-right", signing: ldnsP256, ds: both(algorithm(200), rightDS),
		want: wants{www: "secure"}},
	{name: "unknown-algorithm-and-wrong", signing: ldnsP256, ds: both(algorithm(200), wrongDigest),
		want: wants{www: "bogus"}},
	{name: "unknown-digest", signing: ldnsP256, ds: digestType(200), want: wants{www: "insecure"}},
	{name: "unknown-digest-and-right", signing: ldnsP256, ds: both(digestType(200), rightDS),
		want: wants{www: "secure"}},
	{name: "unknown-digest-and-wrong", signing: ldnsP256, ds: both(digestType(200), wrongDigest),
		want: wants{www: "bogus"}},
	{name: "sha384", signing: ldnsP256, ds: digest(dns.SHA384), want: wants{www: "secure"}},
	{name: "sha384-wrong", signing: ldnsP256, ds: spoil(digest(dns.SHA384)), want: wants{www: "bogus"}},
	{name: "sha256-and-sha384", signing: ldnsP256, ds: both(rightDS, digest(dns.SHA384)), want: wants{www: "secure"}},
	{name: "sha1", signing: ldnsP256, ds: digest(dns.SHA1), want: wants{www: "secure"}},
	{name: "sha1-wrong", signing: ldnsP256, ds: spoil(digest(dns.SHA1)), want: wants{www: "bogus"}},
	// RFC 4509 section 3: a SHA-1 digest beside a SHA-256 digest is ignored.
	{name: "sha1-and-sha256-wrong", signing: ldnsP256, ds: both(digest(dns.SHA1), wrongDigest),
		want: wants{www: "bogus"},
		lax:  map[string]string{"unbound": "ignores SHA-1 only with harden-algo-downgrade"}},
	{name: "sha1-wrong-and-sha256", signing: ldnsP256, ds: both(spoil(digest(dns.SHA1)), rightDS),
		want: wants{www: "secure"}},
	{name: "zone-signing-key", signing: bindP256, ds: zoneSigningKey, want: wants{www: "secure"}},
}

// dsOf is the type of variant.ds.
type dsOf = func(t *testing.T, z *dnsserver.Zone) []dns.RR

func noDS(*testing.T, *dnsserver.Zone) []dns.RR { return []dns.RR{} }

func rightDS(_ *testing.T, z *dnsserver.Zone) []dns.RR { return z.DS(dns.SHA256) }

func digest(digestType uint8) dsOf {
	return func(_ *testing.T, z *dnsserver.Zone) []dns.RR { return z.DS(digestType) }
}

// both returns the DS records of both functions.
func both(one, other dsOf) dsOf {
	return func(t *testing.T, z *dnsserver.Zone) []dns.RR { return append(one(t, z), other(t, z)...) }
}

// spoil corrupts the digests.
func spoil(ds dsOf) dsOf {
	return func(t *testing.T, z *dnsserver.Zone) []dns.RR {
		return each(ds(t, z), func(ds *dns.DS) {
			ds.Digest = strings.Repeat("5a", len(ds.Digest)/2)
		})
	}
}

func wrongDigest(t *testing.T, z *dnsserver.Zone) []dns.RR { return spoil(rightDS)(t, z) }

// otherKey returns a DS record for a key that the zone does not have.
func otherKey(t *testing.T, z *dnsserver.Zone) []dns.RR {
	return each(wrongDigest(t, z), func(ds *dns.DS) { ds.KeyTag++ })
}

func algorithm(number uint8) dsOf {
	return func(_ *testing.T, z *dnsserver.Zone) []dns.RR {
		return each(z.DS(dns.SHA256), func(ds *dns.DS) { ds.Algorithm = number })
	}
}

func digestType(number uint8) dsOf {
	return func(_ *testing.T, z *dnsserver.Zone) []dns.RR {
		return each(z.DS(dns.SHA256), func(ds *dns.DS) { ds.DigestType = number })
	}
}

// zoneSigningKey returns a DS record for the zone-signing key, which also signs
// the keys.
func zoneSigningKey(t *testing.T, z *dnsserver.Zone) []dns.RR {
	for _, rr := range z.Find("", dns.TypeDNSKEY) {
		if key := rr.(*dns.DNSKEY); key.Flags&dns.SEP == 0 {
			ds := key.ToDS(dns.SHA256)
			ds.Hdr.Ttl = 300
			return []dns.RR{ds}
		}
	}
	t.Fatalf("%s has no zone-signing key", z.Name)
	return nil
}

func each(set []dns.RR, change func(*dns.DS)) []dns.RR {
	for _, rr := range set {
		change(rr.(*dns.DS))
	}
	return set
}
