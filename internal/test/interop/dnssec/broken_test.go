package dnssec

import (
	"encoding/base64"
	"net"
	"testing"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/internal/test/interop/dnsserver"
)

// wants is the type of variant.want.
type wants = map[question]string

var (
	www     = question{"www", dns.TypeA}
	noData  = question{"www", dns.TypeMX}
	missing = question{"missing", dns.TypeA}
	wild    = question{"x.wild", dns.TypeA}
	mail    = question{"_25._tcp.mail", dns.TypeTLSA}
)

// broken zones have NSEC records and a fault that was introduced after signing.
var broken = []variant{
	{name: "altered-signature", signing: ldnsP256, alter: alterSignature("www", dns.TypeA),
		want: wants{www: "bogus", noData: "secure", mail: "secure"}},
	{name: "altered-rsa-signature", alter: alterSignature("www", dns.TypeA),
		signing: dnsserver.Signing{Signer: dnsserver.BIND, Bits: 1024, Algorithms: []uint8{dns.RSASHA256}},
		want:    wants{www: "bogus", noData: "secure"}},
	{name: "altered-ed25519-signature", alter: alterSignature("www", dns.TypeA),
		signing: dnsserver.Signing{Signer: dnsserver.LDNS, Algorithms: []uint8{dns.ED25519}},
		want:    wants{www: "bogus", noData: "secure"}},
	{name: "altered-data", signing: ldnsP256, alter: alterAddress, want: wants{www: "bogus", mail: "secure"}},
	{name: "altered-ttl", signing: ldnsP256, alter: raiseTTL, want: wants{www: "secure"}},
	{name: "added-record", signing: ldnsP256, alter: addAddress, want: wants{www: "bogus"}},
	{name: "unsigned-record", signing: ldnsP256, alter: removeSignature("www", dns.TypeA),
		want: wants{www: "bogus", mail: "secure"}},
	{name: "expired", want: wants{www: "bogus", missing: "bogus"},
		signing: dnsserver.Signing{Signer: dnsserver.BIND, Algorithms: []uint8{dns.ECDSAP256SHA256},
			Inception: past, Expiration: past.Add(10 * day)}},
	{name: "not-yet-valid", want: wants{www: "bogus", missing: "bogus"},
		signing: dnsserver.Signing{Signer: dnsserver.LDNS, Algorithms: []uint8{dns.ECDSAP256SHA256},
			Inception: future, Expiration: future.Add(10 * day)}},
	{name: "one-expired", signing: bindP256, alter: expire("_25._tcp.mail", dns.TypeTLSA),
		want: wants{mail: "bogus", www: "secure"}},
	{name: "expired-keys", signing: bindP256, alter: expire("", dns.TypeDNSKEY), want: wants{www: "bogus"}},
	{name: "expired-and-valid", signing: bindP256, alter: addExpired("www", dns.TypeA), want: wants{www: "secure"}},
	{name: "altered-keys-signature", signing: ldnsP256, alter: alterSignature("", dns.TypeDNSKEY),
		want: wants{www: "bogus"}},
	{name: "unsigned-keys", signing: ldnsP256, alter: removeSignature("", dns.TypeDNSKEY), want: wants{www: "bogus"}},
	{name: "no-keys", signing: ldnsP256, alter: removeType(dns.TypeDNSKEY), want: wants{www: "bogus"}},
	{name: "no-zone-signing-key", signing: ldnsP256, alter: removeZoneSigningKey, want: wants{www: "bogus"}},
	{name: "no-signatures", signing: ldnsP256, alter: removeType(dns.TypeRRSIG), want: wants{www: "bogus", missing: "bogus"}},
	{name: "stripped", signing: ldnsP256, alter: strip, want: wants{www: "bogus", missing: "bogus"}},
	{name: "no-denials", signing: ldnsP256, alter: removeNSEC,
		want: wants{www: "secure", missing: "bogus", noData: "bogus", wild: "bogus"}},
	{name: "altered-denials", signing: ldnsP256, alter: alterSignatures(dns.TypeNSEC),
		want: wants{www: "secure", missing: "bogus", noData: "bogus", wild: "bogus"}},
	{name: "unsigned-denials", signing: ldnsP256, alter: removeSignatures(dns.TypeNSEC),
		want: wants{www: "secure", missing: "bogus", noData: "bogus", wild: "bogus"}},
	{name: "no-apex-denial", signing: ldnsP256, alter: removeDenialAt(""), want: wants{www: "secure"}},
	{name: "no-www-denial", signing: ldnsP256, alter: removeDenialAt("www"), want: wants{noData: "bogus"}},
	{name: "no-wildcard-denial", signing: ldnsP256, alter: removeDenialAt("*.wild"),
		want: wants{{"x.wild", dns.TypeMX}: "bogus"},
		lax:  map[string]string{"unbound": "does not ask for the NSEC record of the wildcard (RFC 4035 section 5.4)"}},
	{name: "no-alias-signature", signing: ldnsP256, alter: removeSignature("alias", dns.TypeCNAME),
		want: wants{{"alias", dns.TypeA}: "bogus"}},
	{name: "altered-dname-signature", signing: ldnsP256, alter: alterSignature("dname", dns.TypeDNAME),
		want: wants{{"www.dname", dns.TypeA}: "bogus"}},
	{name: "unsigned-dname", signing: ldnsP256, alter: removeSignature("dname", dns.TypeDNAME),
		want: wants{{"www.dname", dns.TypeA}: "bogus"}},
	{name: "one-of-two-algorithms", alter: removeAlgorithm(dns.ECDSAP256SHA256),
		signing: dnsserver.Signing{Signer: dnsserver.BIND, Bits: 1024,
			Algorithms: []uint8{dns.RSASHA256, dns.ECDSAP256SHA256}},
		want: wants{www: "secure", missing: "secure"}},
	{name: "other-of-two-algorithms", alter: removeAlgorithm(dns.RSASHA256),
		signing: dnsserver.Signing{Signer: dnsserver.BIND, Bits: 1024,
			Algorithms: []uint8{dns.RSASHA256, dns.ECDSAP256SHA256}},
		want: wants{www: "secure", missing: "secure"}},
}

// brokenNSEC3 zones have the same faults, where they differ for NSEC3.
var brokenNSEC3 = []variant{
	{name: "no-denials", signing: bindNSEC3, alter: removeNSEC,
		want: wants{www: "secure", missing: "bogus", noData: "bogus", wild: "bogus"}},
	{name: "altered-denials", signing: bindNSEC3, alter: alterSignatures(dns.TypeNSEC3),
		want: wants{www: "secure", missing: "bogus", noData: "bogus", wild: "bogus"}},
	{name: "unsigned-denials", signing: bindNSEC3, alter: removeSignatures(dns.TypeNSEC3),
		want: wants{www: "secure", missing: "bogus", noData: "bogus", wild: "bogus"}},
	{name: "no-encloser-denial", signing: bindNSEC3, alter: removeHashedDenialOf(""),
		want: wants{www: "secure", missing: "bogus"}},
	{name: "no-next-closer-denial", signing: bindNSEC3, alter: removeHashedDenialOf("missing"),
		want: wants{www: "secure", missing: "bogus"}},
	{name: "no-wildcard-denial", signing: bindNSEC3, alter: removeHashedDenialOf("*"),
		want: wants{www: "secure", missing: "bogus"}},
	{name: "no-expansion-denial", signing: bindNSEC3, alter: removeHashedDenialOf("x.wild"), want: wants{wild: "bogus"}},
	{name: "altered-many-iterations", alter: alterSignatures(dns.TypeNSEC3),
		signing: dnsserver.Signing{Signer: dnsserver.LDNS, Algorithms: []uint8{dns.ECDSAP256SHA256},
			NSEC3: true, Iterations: 500},
		want: wants{www: "secure", missing: "bogus"}},
	{name: "stripped", signing: bindNSEC3, alter: strip, want: wants{www: "bogus", missing: "bogus"}},
}

func alterSignature(name string, covered uint16) func(*testing.T, *dnsserver.Zone) {
	return func(t *testing.T, z *dnsserver.Zone) { alter(t, z.Signatures(name, covered)) }
}

func alterSignatures(covered uint16) func(*testing.T, *dnsserver.Zone) {
	return func(t *testing.T, z *dnsserver.Zone) {
		var found []*dns.RRSIG
		for _, rr := range z.Records {
			if sig, ok := rr.(*dns.RRSIG); ok && sig.TypeCovered == covered {
				found = append(found, sig)
			}
		}
		alter(t, found)
	}
}

func alterAllSignatures(t *testing.T, z *dnsserver.Zone) {
	var found []*dns.RRSIG
	for _, rr := range z.Records {
		if sig, ok := rr.(*dns.RRSIG); ok {
			found = append(found, sig)
		}
	}
	alter(t, found)
}

// alter flips one bit of each signature.
func alter(t *testing.T, sigs []*dns.RRSIG) {
	t.Helper()
	if len(sigs) == 0 {
		t.Fatal("no signature to alter")
	}
	for _, sig := range sigs {
		raw, err := base64.StdEncoding.DecodeString(sig.Signature)
		if err != nil {
			t.Fatal(err)
		}
		raw[len(raw)/2] ^= 1
		sig.Signature = base64.StdEncoding.EncodeToString(raw)
	}
}

func alterAddress(_ *testing.T, z *dnsserver.Zone) {
	for i, rr := range z.Find("www", dns.TypeA) {
		rr.(*dns.A).A = net.IPv4(198, 51, 100, byte(i))
	}
}

func addAddress(t *testing.T, z *dnsserver.Zone) {
	more := dns.Copy(z.Find("www", dns.TypeA)[0])
	more.(*dns.A).A = net.IPv4(198, 51, 100, 1)
	z.Records = append(z.Records, more)
}

func raiseTTL(_ *testing.T, z *dnsserver.Zone) {
	for _, rr := range z.Find("www", dns.TypeA) {
		rr.Header().Ttl = 7200
	}
	for _, sig := range z.Signatures("www", dns.TypeA) {
		sig.Hdr.Ttl = 7200
	}
}

func removeSignature(name string, covered uint16) func(*testing.T, *dnsserver.Zone) {
	return func(t *testing.T, z *dnsserver.Zone) {
		sigs := z.Signatures(name, covered)
		remove(t, z, func(rr dns.RR) bool {
			for _, sig := range sigs {
				if rr == dns.RR(sig) {
					return true
				}
			}
			return false
		})
	}
}

func removeSignatures(covered uint16) func(*testing.T, *dnsserver.Zone) {
	return func(t *testing.T, z *dnsserver.Zone) {
		remove(t, z, func(rr dns.RR) bool {
			sig, ok := rr.(*dns.RRSIG)
			return ok && sig.TypeCovered == covered
		})
	}
}

func removeAlgorithm(algorithm uint8) func(*testing.T, *dnsserver.Zone) {
	return func(t *testing.T, z *dnsserver.Zone) {
		remove(t, z, func(rr dns.RR) bool {
			sig, ok := rr.(*dns.RRSIG)
			return ok && sig.Algorithm == algorithm && sig.TypeCovered != dns.TypeDNSKEY
		})
	}
}

func removeType(rrtype uint16) func(*testing.T, *dnsserver.Zone) {
	return func(t *testing.T, z *dnsserver.Zone) {
		remove(t, z, func(rr dns.RR) bool { return rr.Header().Rrtype == rrtype })
	}
}

func removeZoneSigningKey(t *testing.T, z *dnsserver.Zone) {
	remove(t, z, func(rr dns.RR) bool {
		key, ok := rr.(*dns.DNSKEY)
		return ok && key.Flags&dns.SEP == 0
	})
}

// strip removes all DNSSEC records from a zone.
func strip(t *testing.T, z *dnsserver.Zone) {
	remove(t, z, func(rr dns.RR) bool {
		switch rr.Header().Rrtype {
		case dns.TypeRRSIG, dns.TypeDNSKEY, dns.TypeNSEC, dns.TypeNSEC3, dns.TypeNSEC3PARAM:
			return true
		default:
			return false
		}
	})
}

func isDenial(rr dns.RR) bool {
	switch rr := rr.(type) {
	case *dns.NSEC, *dns.NSEC3:
		return true
	case *dns.RRSIG:
		return rr.TypeCovered == dns.TypeNSEC || rr.TypeCovered == dns.TypeNSEC3
	default:
		return false
	}
}

func removeNSEC(t *testing.T, z *dnsserver.Zone) { remove(t, z, isDenial) }

func removeDenialAt(name string) func(*testing.T, *dnsserver.Zone) {
	return func(t *testing.T, z *dnsserver.Zone) {
		remove(t, z, func(rr dns.RR) bool {
			return isDenial(rr) && dns.CanonicalName(rr.Header().Name) == z.Absolute(name)
		})
	}
}

// removeHashedDenialOf removes the NSEC3 record that matches or covers the
// name.
func removeHashedDenialOf(name string) func(*testing.T, *dnsserver.Zone) {
	return func(t *testing.T, z *dnsserver.Zone) {
		owner := ""
		for _, rr := range z.Records {
			nsec3, ok := rr.(*dns.NSEC3)
			if ok && (nsec3.Match(z.Absolute(name)) || nsec3.Cover(z.Absolute(name))) {
				owner = rr.Header().Name
			}
		}
		remove(t, z, func(rr dns.RR) bool { return isDenial(rr) && rr.Header().Name == owner })
	}
}

func remove(t *testing.T, z *dnsserver.Zone, match func(dns.RR) bool) {
	t.Helper()
	if z.Remove(match) == 0 {
		t.Fatalf("nothing to remove from %s", z.Name)
	}
}

// expire replaces the signatures of an RRset with expired signatures by the
// same keys.
func expire(name string, covered uint16) func(*testing.T, *dnsserver.Zone) {
	return func(t *testing.T, z *dnsserver.Zone) {
		addExpired(name, covered)(t, z)
		remove(t, z, func(rr dns.RR) bool {
			sig, ok := rr.(*dns.RRSIG)
			return ok && sig.TypeCovered == covered && dns.CanonicalName(sig.Hdr.Name) == z.Absolute(name) &&
				sig.ValidityPeriod(now)
		})
	}
}

// addExpired adds expired signatures by the same keys.
func addExpired(name string, covered uint16) func(*testing.T, *dnsserver.Zone) {
	return func(t *testing.T, z *dnsserver.Zone) {
		valid := z.Records
		z.Sign(t, dnsserver.Signing{Signer: dnsserver.BIND, Inception: past, Expiration: past.Add(10 * day)})
		expired := z.Signatures(name, covered)
		z.Records = valid
		for _, sig := range expired {
			z.Records = append(z.Records, sig)
		}
	}
}
