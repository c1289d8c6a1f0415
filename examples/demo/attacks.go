package main

import (
	"crypto/tls"
	"errors"
	"fmt"

	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/policytest"
)

// daneAttackScenarios are attackers on the path to a host with TLSA records,
// and misconfigured hosts with TLSA records.
func daneAttackScenarios() []scenario {
	dane := steps{signed, mx(policytest.TLSA("3 1 1"))}
	issuer := steps{signed, mx(policytest.TLSA("2 1 1"))}
	stops := func(reason string) outcome { return outcome{mail: waits, by: policy.ByDANE, reason: reason} }
	return []scenario{
		{
			domain: "stripped.test", situation: "STARTTLS stripped on the path",
			given: dane.and(faulty(policytest.NoSTARTTLS)),
			want:  stops("starttls-not-supported"),
		},
		{
			domain: "refused.test", situation: "STARTTLS offered, then refused (454)",
			given: dane.and(faulty(policytest.Reply("STARTTLS", "454 4.7.0 not now"))),
			want:  stops("starttls-not-supported/starttls-refused"),
		},
		{
			domain: "impostor.test", situation: "an impostor with a key of his own",
			given: dane.and(faulty(policytest.Impostor)),
			want:  stops("tlsa-invalid/tlsa-no-match"),
		},
		{
			domain: "public-ca.test", situation: "wrong key, a public CA vouches for it",
			given: dane.and(faulty(policytest.OtherKey)),
			want:  stops("tlsa-invalid/tlsa-no-match"),
		},
		{
			domain: "injected.test", situation: "a reply injected behind STARTTLS",
			given: dane.and(faulty(policytest.InjectAfterSTARTTLS("250 trust me\r\n"))),
			want:  stops("validation-failure/starttls-injection"),
		},
		{
			domain: "downgraded.test", situation: "TLS 1.1 at most",
			given: dane.and(faulty(policytest.MaxTLS(tls.VersionTLS11))),
			want:  stops("validation-failure/tls-alert-protocol-version-not-supported"),
		},
		{
			domain: "ta-expired.test", situation: "2 1 1, expired: here dates count",
			given: issuer.and(faulty(policytest.Expired)),
			want:  stops("certificate-expired/certificate-expired"),
		},
		{
			domain: "ta-name.test", situation: "2 1 1, wrong name: here names count",
			given: issuer.and(faulty(policytest.WrongName("other.test"))),
			want:  stops("certificate-host-mismatch/certificate-host-mismatch"),
		},
		{
			domain: "odd-clear.test", situation: "unusable TLSA, STARTTLS stripped",
			given: steps{signed, mx(policytest.TLSA("1 1 1"), policytest.NoSTARTTLS)},
			want:  stops("starttls-not-supported"),
		},
		{
			domain: "no-fallback.test", situation: "DANE fails, MTA-STS would be met",
			given: dane.and(policyFor("enforce"), faulty(policytest.OtherKey)),
			want:  stops("tlsa-invalid/tlsa-no-match"),
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

// dnsAttackScenarios are attackers and faults in the DNS. A failed lookup never
// counts as "no records".
func dnsAttackScenarios() []scenario {
	dane := steps{signed, mx(policytest.TLSA("3 1 1"))}
	tlsa := "_25._tcp.mx.@"
	waiting := func(reason string) outcome { return outcome{mail: waits, reason: reason} }
	refusing := func(reason string) outcome { return outcome{mail: waits, by: policy.ByDANE, reason: reason} }
	return []scenario{
		{
			domain: "dropped.test", situation: "answers for MX are dropped",
			given: dane.and(dnsFault(policytest.Drop, "@", typeMX)),
			want:  waiting("dnssec-invalid/timeout"),
		},
		{
			domain: "mx-forged.test", situation: "signed, MX records are forged",
			given: dane.and(forge("@", typeMX, "@. MX 0 mx.thief.test."), host("mx.thief.test", policytest.TLSA("3 1 1"))),
			want:  waiting("dnssec-invalid/bogus-signature-missing"),
			also:  notConnected("mx.thief.test"),
		},
		{
			domain: "mx-bogus.test", situation: "wrong signatures of the MX records",
			given: dane.and(dnsFault(policytest.Bogus, "@", typeMX)),
			want:  waiting("dnssec-invalid/bogus-signature-invalid"),
		},
		{
			domain: "stripped-dns.test", situation: "DNSSEC stripped from every answer",
			given: dane.and(func(s *site) { s.inet.BreakDNSBelow(policytest.Strip, s.name) }),
			want:  waiting("dnssec-invalid/bogus-signature-missing"),
		},
		{
			domain: "a-forged.test", situation: "signed, the host's address is forged",
			given: dane.and(forge("mx.@", typeA, "mx.@. A 203.0.113.66")),
			want:  refusing("dnssec-invalid/bogus-signature-missing"),
			also:  notConnected("mx.a-forged.test"),
		},
		{
			domain: "tlsa-servfail.test", situation: "SERVFAIL for TLSA, addresses secure",
			given: dane.and(dnsFault(policytest.ServFail, tlsa, typeTLSA)),
			want:  refusing("dnssec-invalid/servfail"),
			also:  notConnected("mx.tlsa-servfail.test"),
		},
		{
			domain: "tlsa-bogus.test", situation: "wrong signatures of the TLSA records",
			given: dane.and(dnsFault(policytest.Bogus, tlsa, typeTLSA)),
			want:  refusing("dnssec-invalid/bogus-signature-invalid"),
		},
		{
			domain: "tlsa-denied.test", situation: "a forger says: no TLSA records",
			given: dane.and(forge(tlsa, typeTLSA)),
			want:  refusing("dnssec-invalid/bogus-denial-missing"),
		},
		{
			domain: "old-server.test", situation: "unsigned zone, fails when asked TLSA",
			given: steps{unsigned, mx(), dnsFault(policytest.ServFail, tlsa, typeTLSA)},
			want:  outcome{mail: encrypted, at: "mx.old-server.test"},
			also:  tlsaNotAsked,
		},
		{
			domain: "unprotected.test", situation: "no policy at all, MX records forged",
			given: steps{unsigned, mx(), forge("@", typeMX, "@. MX 0 mx.robber.test."), host("mx.robber.test")},
			want:  outcome{mail: encrypted, at: "mx.robber.test"},
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
