package situations

import (
	"crypto/tls"
	"errors"
	"fmt"

	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/policytest"
)

// daneAttacks are attackers on the path to a host with TLSA records,
// and misconfigured hosts with TLSA records.
func daneAttacks() []Situation {
	dane := steps{signed, mx(policytest.TLSA("3 1 1"))}
	issuer := steps{signed, mx(policytest.TLSA("2 1 1"))}
	stops := func(reason string) Outcome { return Outcome{Mail: Waits, By: policy.ByDANE, Reason: reason} }
	return []Situation{
		{
			Domain: "stripped.test", Title: "STARTTLS stripped on the path",
			given: dane.and(faulty(policytest.NoSTARTTLS)),
			Want:  stops("starttls-not-supported"),
		},
		{
			Domain: "refused.test", Title: "STARTTLS offered, then refused (454)",
			given: dane.and(faulty(policytest.Reply("STARTTLS", "454 4.7.0 not now"))),
			Want:  stops("starttls-not-supported/starttls-refused"),
		},
		{
			Domain: "impostor.test", Title: "an impostor with a key of his own",
			given: dane.and(faulty(policytest.Impostor)),
			Want:  stops("tlsa-invalid/tlsa-no-match"),
		},
		{
			Domain: "public-ca.test", Title: "wrong key, a public CA vouches for it",
			given: dane.and(faulty(policytest.OtherKey)),
			Want:  stops("tlsa-invalid/tlsa-no-match"),
		},
		{
			Domain: "injected.test", Title: "a reply injected behind STARTTLS",
			given: dane.and(faulty(policytest.InjectAfterSTARTTLS("250 trust me\r\n"))),
			Want:  stops("validation-failure/starttls-injection"),
		},
		{
			Domain: "downgraded.test", Title: "TLS 1.1 at most",
			given: dane.and(faulty(policytest.MaxTLS(tls.VersionTLS11))),
			Want:  stops("validation-failure/tls-alert-protocol-version-not-supported"),
		},
		{
			Domain: "ta-expired.test", Title: "2 1 1, expired: here dates count",
			given: issuer.and(faulty(policytest.Expired)),
			Want:  stops("certificate-expired/leaf-expired"),
		},
		{
			Domain: "ta-name.test", Title: "2 1 1, wrong name: here names count",
			given: issuer.and(faulty(policytest.WrongName("other.test"))),
			Want:  stops("certificate-host-mismatch/name-not-in-certificate"),
		},
		{
			Domain: "odd-clear.test", Title: "unusable TLSA, STARTTLS stripped",
			given: steps{signed, mx(policytest.TLSA("1 1 1"), policytest.NoSTARTTLS)},
			Want:  stops("starttls-not-supported"),
		},
		{
			Domain: "no-fallback.test", Title: "DANE fails, MTA-STS would be met",
			given: dane.and(policyFor("enforce"), faulty(policytest.OtherKey)),
			Want:  stops("tlsa-invalid/tlsa-no-match"),
			also:  policyNotAsked,
		},
	}
}

// The record types of the faults.
const (
	typeA    = dnssec.TypeA
	typeMX   = dnssec.TypeMX
	typeTXT  = dnssec.TypeTXT
	typeTLSA = dnssec.TypeTLSA
)

// dnsAttacks are attackers and faults in the DNS. A failed lookup never
// counts as "no records".
func dnsAttacks() []Situation {
	dane := steps{signed, mx(policytest.TLSA("3 1 1"))}
	tlsa := "_25._tcp.mx.@"
	waiting := func(reason string) Outcome { return Outcome{Mail: Waits, Reason: reason} }
	refusing := func(reason string) Outcome { return Outcome{Mail: Waits, By: policy.ByDANE, Reason: reason} }
	return []Situation{
		{
			Domain: "dropped.test", Title: "answers for MX are dropped",
			given: dane.and(dnsFault(policytest.Drop, "@", typeMX)),
			Want:  waiting("4.4.3"),
		},
		{
			Domain: "mx-forged.test", Title: "signed, MX records are forged",
			given: dane.and(forge("@", typeMX, "@. MX 0 mx.thief.test."), host("mx.thief.test", policytest.TLSA("3 1 1"))),
			Want:  waiting("dnssec-invalid/bogus-signature-missing"),
			also:  notConnected("mx.thief.test"),
		},
		{
			Domain: "mx-bogus.test", Title: "wrong signatures of the MX records",
			given: dane.and(dnsFault(policytest.Bogus, "@", typeMX)),
			Want:  waiting("dnssec-invalid/bogus-signature-invalid"),
		},
		{
			Domain: "stripped-dns.test", Title: "DNSSEC stripped from every answer",
			given: dane.and(func(s *site) { s.inet.BreakDNSBelow(policytest.Strip, s.name) }),
			Want:  waiting("dnssec-invalid/bogus-signature-missing"),
		},
		{
			Domain: "a-forged.test", Title: "signed, the host's address is forged",
			given: dane.and(forge("mx.@", typeA, "mx.@. A 203.0.113.66")),
			Want:  refusing("dnssec-invalid/bogus-signature-missing"),
			also:  notConnected("mx.a-forged.test"),
		},
		{
			Domain: "tlsa-servfail.test", Title: "SERVFAIL for TLSA, addresses secure",
			given: dane.and(dnsFault(policytest.ServFail, tlsa, typeTLSA)),
			Want:  refusing("dnssec-invalid/dns-servfail"),
			also:  notConnected("mx.tlsa-servfail.test"),
		},
		{
			Domain: "tlsa-bogus.test", Title: "wrong signatures of the TLSA records",
			given: dane.and(dnsFault(policytest.Bogus, tlsa, typeTLSA)),
			Want:  refusing("dnssec-invalid/bogus-signature-invalid"),
		},
		{
			Domain: "tlsa-denied.test", Title: "a forger says: no TLSA records",
			given: dane.and(forge(tlsa, typeTLSA)),
			Want:  refusing("dnssec-invalid/bogus-denial-missing"),
		},
		{
			Domain: "old-server.test", Title: "unsigned zone, fails when asked TLSA",
			given: steps{unsigned, mx(), dnsFault(policytest.ServFail, tlsa, typeTLSA)},
			Want:  Outcome{Mail: Encrypted, At: "mx.old-server.test"},
			also:  tlsaNotAsked,
		},
		{
			Domain: "unprotected.test", Title: "no policy at all, MX records forged",
			given: steps{unsigned, mx(), forge("@", typeMX, "@. MX 0 mx.robber.test."), host("mx.robber.test")},
			Want:  Outcome{Mail: Encrypted, At: "mx.robber.test"},
		},
	}
}

// notConnected checks that there were no connections to a host.
func notConnected(name string) func(*site) error {
	return func(s *site) error {
		if n := len(s.host(name).Sessions()); n > 0 {
			return fmt.Errorf("%d connections to %s", n, name)
		}
		return nil
	}
}

// tlsaNotAsked checks that no TLSA records were queried. Such queries fail for
// many unsigned zones, so they would block mail without protecting it (RFC 7672
// section 2.2.2).
func tlsaNotAsked(s *site) error {
	if s.inet.Questions(s.expand("_25._tcp.mx.@"), typeTLSA) > 0 {
		return errors.New("TLSA records were asked for")
	}
	return nil
}
