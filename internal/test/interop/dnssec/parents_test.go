package dnssec

import (
	"time"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/internal/test/interop/dnsserver"
)

// Signing parameters that the variants are based on.
var (
	bindP256  = dnsserver.Signing{Signer: dnsserver.BIND, Algorithms: []uint8{dns.ECDSAP256SHA256}}
	ldnsP256  = dnsserver.Signing{Signer: dnsserver.LDNS, Algorithms: []uint8{dns.ECDSAP256SHA256}}
	bindNSEC3 = dnsserver.Signing{Signer: dnsserver.BIND, Algorithms: []uint8{dns.ECDSAP256SHA256}, NSEC3: true}
)

// parents are the zones directly below the root.
var parents = []parent{
	{name: "nsec", signing: bindP256, variants: join(intact, broken, delegations)},
	{name: "nsec3", signing: dnsserver.Signing{Signer: dnsserver.LDNS, Algorithms: []uint8{dns.RSASHA256}, NSEC3: true, Iterations: 3, Salt: "beef"}, variants: join(intactNSEC3, brokenNSEC3)},
	{name: "optout", signing: dnsserver.Signing{Signer: dnsserver.BIND, Algorithms: []uint8{dns.ED25519}, NSEC3: true, OptOut: true}, variants: intactOptOut},
	{name: "unsigned", variants: islands},
	{name: "nodenial", signing: bindP256, alter: removeNSEC, variants: orphans},
	{name: "nodenial3", signing: bindNSEC3, alter: removeNSEC, variants: orphans},
}

// unsupported are the algorithms that only the others support. SHA-1 is
// disabled here (RFC 9905), and Go has no Ed448.
var unsupported = map[string]string{"unbound": "knows the algorithm", "delv": "knows the algorithm"}

func join(lists ...[]variant) []variant {
	var all []variant
	for _, list := range lists {
		all = append(all, list...)
	}
	return all
}

func signed(name string, signer dnsserver.Signer, algorithms ...uint8) variant {
	return variant{
		name:      name,
		signing:   dnsserver.Signing{Signer: signer, Algorithms: algorithms},
		questions: thorough,
		want:      map[question]string{{"www", dns.TypeA}: "secure", {"missing", dns.TypeA}: "secure"},
	}
}

// intact zones have NSEC records, from each signer and with each algorithm.
var intact = []variant{
	signed("bind-8", dnsserver.BIND, dns.RSASHA256),
	signed("bind-10", dnsserver.BIND, dns.RSASHA512),
	signed("bind-13", dnsserver.BIND, dns.ECDSAP256SHA256),
	signed("bind-14", dnsserver.BIND, dns.ECDSAP384SHA384),
	signed("bind-15", dnsserver.BIND, dns.ED25519),
	signed("bind-8-13", dnsserver.BIND, dns.RSASHA256, dns.ECDSAP256SHA256),
	signed("ldns-13", dnsserver.LDNS, dns.ECDSAP256SHA256),
	signed("knot-13", dnsserver.Knot, dns.ECDSAP256SHA256),
	signed("online", online, dns.ECDSAP256SHA256),
	{
		name: "single-key",
		signing: dnsserver.Signing{Signer: dnsserver.BIND, Algorithms: []uint8{dns.ECDSAP256SHA256},
			SingleKey: true},
		want: map[question]string{{"www", dns.TypeA}: "secure"},
	},
	{
		name:    "small-key",
		signing: dnsserver.Signing{Signer: dnsserver.BIND, Algorithms: []uint8{dns.RSASHA256}, Bits: 1024},
		want:    map[question]string{{"www", dns.TypeA}: "secure"},
	},
	{
		name: "large-key",
		signing: dnsserver.Signing{Signer: dnsserver.LDNS, Algorithms: []uint8{dns.RSASHA512}, Bits: 4096,
			SingleKey: true},
		want: map[question]string{{"www", dns.TypeA}: "secure"},
	},
	{
		name:    "sha1-signatures",
		signing: dnsserver.Signing{Signer: dnsserver.BIND, Algorithms: []uint8{dns.RSASHA1}, Bits: 1024},
		want:    map[question]string{{"www", dns.TypeA}: "insecure", {"missing", dns.TypeA}: "insecure"},
		lax:     unsupported,
	},
	{
		name:    "sha1-switched-on",
		signing: dnsserver.Signing{Signer: dnsserver.BIND, Algorithms: []uint8{dns.RSASHA1}, Bits: 1024},
		sha1:    true,
		want:    map[question]string{{"www", dns.TypeA}: "secure", {"missing", dns.TypeA}: "secure"},
	},
	{
		name:    "ed448",
		signing: dnsserver.Signing{Signer: dnsserver.BIND, Algorithms: []uint8{dns.ED448}},
		want:    map[question]string{{"www", dns.TypeA}: "insecure", {"missing", dns.TypeA}: "insecure"},
		lax:     unsupported,
	},
	{
		name:    "apex-wildcard",
		signing: bindP256,
		text:    "* A 192.0.2.1\n* MX 10 mail\nmail A 192.0.2.2\na.b TXT deep\n",
		questions: []question{
			{"x", dns.TypeA}, {"x", dns.TypeMX}, {"x", dns.TypeTLSA}, {"x.y.z", dns.TypeA}, {"x.y.z", dns.TypeTXT},
			{"mail", dns.TypeMX}, {"x.mail", dns.TypeA}, {"b", dns.TypeA}, {"x.b", dns.TypeA}, {"x.a.b", dns.TypeA},
			{"*", dns.TypeA}, {"*", dns.TypeTXT}, {"_25._tcp.mail", dns.TypeTLSA}, {"x.*", dns.TypeA},
		},
		want: map[question]string{{"x.y.z", dns.TypeTXT}: "secure", {"x.mail", dns.TypeA}: "secure"},
	},
}

func hashed(name string, signer dnsserver.Signer, algorithm uint8, iterations int, salt string) variant {
	v := signed(name, signer, algorithm)
	v.signing.NSEC3 = true
	v.signing.Iterations = iterations
	v.signing.Salt = salt
	return v
}

// intactNSEC3 zones have NSEC3 records, with and without salt and additional
// iterations.
var intactNSEC3 = []variant{
	hashed("bind-13", dnsserver.BIND, dns.ECDSAP256SHA256, 0, ""),
	hashed("ldns-15", dnsserver.LDNS, dns.ED25519, 5, "c0ffee"),
	hashed("knot-14", dnsserver.Knot, dns.ECDSAP384SHA384, 1, "0123456789abcdef"),
	hashed("ldns-8", dnsserver.LDNS, dns.RSASHA256, 10, ""),
	{
		name: "many-iterations",
		signing: dnsserver.Signing{Signer: dnsserver.LDNS, Algorithms: []uint8{dns.ECDSAP256SHA256},
			NSEC3: true, Iterations: 500},
		want: map[question]string{{"www", dns.TypeA}: "secure", {"missing", dns.TypeA}: "insecure"},
	},
}

func optOut(name string, signer dnsserver.Signer, algorithm uint8) variant {
	v := hashed(name, signer, algorithm, 0, "")
	v.signing.OptOut = true
	v.want = map[question]string{{"www", dns.TypeA}: "secure", {"missing", dns.TypeA}: "insecure"}
	v.lax = map[string]string{"delv": "calls an NXDOMAIN in an opt-out span validated (but RFC 5155 section 9.2)"}
	return v
}

var intactOptOut = []variant{
	optOut("bind-13", dnsserver.BIND, dns.ECDSAP256SHA256),
	optOut("ldns-13", dnsserver.LDNS, dns.ECDSAP256SHA256),
	optOut("knot-13", dnsserver.Knot, dns.ECDSAP256SHA256),
}

// islands are signed zones below an unsigned one. It is not possible to detect
// whether they are broken.
var islands = []variant{
	{name: "island", signing: bindP256, want: map[question]string{{"www", dns.TypeA}: "insecure"}},
	{
		name: "broken-island", signing: bindP256, alter: alterAllSignatures,
		want: map[question]string{{"www", dns.TypeA}: "insecure"},
	},
}

// orphans are below a zone from which all denials were removed.
var orphans = []variant{
	{name: "signed", signing: bindP256, want: map[question]string{{"www", dns.TypeA}: "secure"}},
	{
		name: "no-ds", signing: bindP256, ds: noDS,
		want: map[question]string{{"www", dns.TypeA}: "bogus"},
	},
}

const day = 24 * time.Hour

var (
	now    = time.Now()
	past   = now.Add(-40 * day)
	future = now.Add(40 * day)
)
