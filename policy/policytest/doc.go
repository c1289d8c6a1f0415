// Package policytest is a private internet for tests of mail software. It has a
// signed DNS, mail hosts that offer STARTTLS and receive mail, MTA-STS policy
// hosts, a certificate authority for all of them, and the attacks and faults that
// SMTP security is about. It is for mail what net/http/httptest is for HTTP.
//
// An internet starts in a few milliseconds. A domain and a host take one line each:
//
//	inet := policytest.New(t)
//	inet.Domain("example.org").MX("mx.example.org")
//	mx := inet.Host("mx.example.org", policytest.TLSA("3 1 1"))
//
// The domain example.org is now signed, from a root that belongs to this internet.
// Its mail host has a certificate and a TLSA record for it, which is all that DANE
// needs. A domain with MTA-STS instead:
//
//	d := inet.Domain("example.net", policytest.Unsigned).MX("mx.example.net")
//	inet.Host("mx.example.net")
//	sts := d.Policy("enforce", "mx.example.net")
//
// # Using it
//
// [Internet.Config] returns the configuration for package policy. Its parts are
// available for programs that use only one of the packages, or none:
//
//	r, err := policy.New(inet.Config())
//	...
//	defer r.Close()
//
// Hosts have addresses from the documentation ranges, which exist only in the DNS
// and in [Internet.Dial]. The servers listen on the loopback interface, on free
// ports, so any number of internets can run side by side. The name server is at a
// real address, [Internet.DNSAddr]. Other software can be tested as well if it has
// a hook for dialing:
//
//	conn, err := inet.Dial(ctx, "tcp", "mx.example.org:25")
//	web := &http.Transport{DialContext: inet.Dial, TLSClientConfig: &tls.Config{RootCAs: inet.RootCAs()}}
//
// The host has the messages that it received:
//
//	for _, m := range mx.Messages() {
//		t.Log(m.From, m.To, m.Session.TLS != nil, m.Session.Helo)
//	}
//
// # Attackers
//
// An [Option] is a property or a fault. An option given to [Internet.Host] holds
// from the beginning. Break adds options until restore is called. So a test can
// show that what was learned before an attack protects during it:
//
//	restore := mx.Break(policytest.NoSTARTTLS)
//	// no mail must be sent now
//	restore()
//
// Policy hosts and other https hosts ([Internet.Web]) have Break too.
// [Internet.BreakDNS] is Break for the DNS. An attacker without keys can forge
// everything that is not signed:
//
//	inet.BreakDNS(policytest.Forge("example.net. MX 0 evil.example."), "example.net", dnssec.TypeMX)
//
// # Time
//
// [Internet.Now] is the clock of an internet. The configurations use it.
// [Internet.Advance] moves it, so that a policy ages by a week at once.
package policytest
