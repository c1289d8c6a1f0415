// Package policytest is a private internet for tests of mail software: a signed
// DNS, mail hosts that offer STARTTLS and really receive mail, MTA-STS policy
// hosts, an authority that certifies them all, and the attackers and mishaps
// that SMTP security is about. It is to that what net/http/httptest is to HTTP.
//
// An internet starts in a few milliseconds and is as easily filled:
//
//	inet := policytest.New(t)
//	inet.Domain("example.org").MX("mx.example.org")
//	mx := inet.Host("mx.example.org", policytest.TLSA("3 1 1"))
//
// The domain example.org is now signed, from a root of this internet's own; its
// mail host has a certificate and a TLSA record for it, which is all of DANE. A
// domain with MTA-STS instead:
//
//	d := inet.Domain("example.net", policytest.Unsigned).MX("mx.example.net")
//	inet.Host("mx.example.net")
//	sts := d.Policy("enforce", "mx.example.net")
//
// # Using it
//
// The configuration of package policy comes ready made, and so do its parts for
// those who use only one of the packages, or none of them:
//
//	r, err := policy.New(inet.Config())
//
// Hosts have addresses from the documentation ranges, which exist only in the
// DNS and in [Internet.Dial]. Behind that everything is on the loopback
// interface, on free ports, so any number of internets can run side by side.
// The name server is at a real address, [Internet.DNSAddr]. Whatever else has a
// hook for dialling can be tested as well:
//
//	conn, err := inet.Dial(ctx, "tcp", "mx.example.org:25")
//	web := &http.Transport{DialContext: inet.Dial, TLSClientConfig: &tls.Config{RootCAs: inet.RootCAs()}}
//
// What came of it is found at the host:
//
//	for _, m := range mx.Messages() {
//		t.Log(m.From, m.To, m.Session.TLS != nil, m.Session.Helo)
//	}
//
// # Attackers
//
// An [Option] is a trait or a fault. Given to [Internet.Host] it is there from
// the beginning; Break switches it on for a while, which is how one tests that
// what was learned before an attack still protects during it:
//
//	restore := mx.Break(policytest.NoSTARTTLS)
//	// no mail must be sent now
//	restore()
//
// Policy hosts break in the same way, as do other https hosts ([Internet.Web]),
// and [Internet.BreakDNS] does it to the DNS. There an attacker without keys can
// forge whatever is not signed:
//
//	inet.BreakDNS(policytest.Forge("example.net. MX 0 evil.example."), "example.net", dnssec.TypeMX)
//
// # Time
//
// [Internet.Now] is the clock of an internet, which the configurations contain,
// and [Internet.Advance] moves it, so that a policy ages by a week in no time.
package policytest
