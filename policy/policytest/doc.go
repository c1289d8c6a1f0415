// Package policytest provides a private internet for tests of mail software. It
// has a signed DNS, mail hosts that offer STARTTLS and receive mail, MTA-STS
// policy hosts, a certificate authority for all of them, and the faults and
// attacks that SMTP security must withstand.
//
// # Testing a sender
//
// A test of your own sender has four steps. The example "YourOwnSender" is a whole one.
//
// First, an internet with a domain and its mail host. It starts in a few milliseconds:
//
//	inet := policytest.New(t)
//	inet.Domain("example.org").MX("mx.example.org")
//	mx := inet.Host("mx.example.org", policytest.TLSA("3 1 1"))
//
// The domain example.org is signed, from this internet's own root. Its mail
// host has a certificate and a matching TLSA record, so senders use DANE. To
// set up a domain with MTA-STS instead:
//
//	d := inet.Domain("example.net", policytest.Unsigned).MX("mx.example.net")
//	inet.Host("mx.example.net")
//	sts := d.Policy("enforce", "mx.example.net")
//
// Second, the sender under test gets the way into this internet. A sender that uses
// package policy gets its resolver. Others get [Internet.Dial], [Internet.RootCAs], the
// address of the name server, [Internet.DNSAddr], and for validation [Internet.TrustAnchors]:
//
//	dialer := &delivery.Dialer{Resolver: inet.Resolver()}
//
// Third, an attack or a fault, and a message:
//
//	mx.Break(policytest.NoSTARTTLS)
//	err := dialer.SendMail(ctx, "a@example.net", []string{"b@example.org"}, message)
//
// Fourth, the check: while a policy protects the domain, nothing is received, and the
// message waits for a later attempt:
//
//	var failed *policy.Error
//	if n := len(mx.Messages()); n > 0 || !errors.As(err, &failed) || !failed.Temporary() {
//		t.Errorf("%d messages were received; %v", n, err)
//	}
//
// The attacks that every sender should be tested with are [NoSTARTTLS], [Impostor],
// [InjectAfterSTARTTLS], [Stall] at each step, and in the DNS [Forge], [Strip], [Bogus]
// and [ServFail].
//
// # Connecting
//
// [Internet.Resolver] returns a resolver of package policy for this internet, and
// [Internet.Config] its configuration. [Internet.DNSConfig] and
// [Internet.MTASTSConfig] are those for packages dnssec and mtasts.
//
// Hosts have addresses from the ranges for documentation and benchmarks. These
// addresses exist only in the DNS of the internet and in [Internet.Dial]. The
// servers listen on free ports of the loopback interface, so many internets can run
// at the same time. An internet can have 100,000 domains, each with its hosts. The
// name server is reachable at its loopback address, [Internet.DNSAddr]. Any code with
// a dial hook can be tested:
//
//	conn, err := inet.Dial(ctx, "tcp", "mx.example.org:25")
//	web := &http.Transport{DialContext: inet.Dial, TLSClientConfig: &tls.Config{RootCAs: inet.RootCAs()}}
//
// Each host records what it received:
//
//	for _, m := range mx.Messages() {
//		t.Log(m.From, m.To, m.Session.TLS != nil, m.Session.Helo)
//	}
//
// # Attackers
//
// An [Option] is a property or a fault of a host. Options passed to
// [Internet.Host] apply from the start. Break applies them until they are taken
// back, for example to test that a policy learned before an attack protects
// during the attack:
//
//	restore := mx.Break(policytest.NoSTARTTLS)
//	// no mail must be sent now
//	restore()
//
// [On] is a script: what a host does when a step occurs, time after time. An
// [Action] is a reply, octets, silence or the end of the connection, with a pause
// before it if need be. [Reply], [Delay], [Stall], [HangUp] and [Endless] are short
// forms, and [InTurn] is for whole connections:
//
//	policytest.On("RCPT", policytest.Usual(), policytest.Say("452 4.5.3 too many recipients"))
//	policytest.Delay("DATA", time.Second)
//	policytest.HangUp(policytest.InTLS("EHLO"))
//
// Policy hosts and other HTTPS hosts ([Internet.Web]) have the same Break
// method. [Internet.BreakDNS] changes DNS replies. An attacker without keys can
// forge everything that is not signed:
//
//	inet.BreakDNS(policytest.Forge("example.net. MX 0 evil.example."), "example.net", dnssec.TypeMX)
//
// # Real programs
//
// [Internet.Server] adds a program as a mail host, such as a Postfix. The option
// [Listen] gives a host a real address, and [Internet.ListenDNS] and
// [Internet.ListenResolver] answer DNS queries at one, so that programs without a
// dial hook can be senders. ListenResolver validates and sets the AD bit, which
// Postfix needs for DANE:
//
//	inet.Host("mx.example.org", policytest.TLSA("3 1 1"), policytest.Listen("127.0.0.21:2525"))
//	inet.ListenResolver("127.0.0.20:53")
//
// # Time
//
// [Internet.Now] is the clock of an internet. The configurations contain it.
// [Internet.Advance] moves it, for example to let a policy age by a week.
package policytest

// The files, in the order in which to read them: internet.go, domain.go, host.go and
// policyhost.go have what an internet consists of. behavior.go explains options: those of
// connections and certificates are in option.go, those of one kind of host in mailoption.go
// and weboption.go, and scripts in script.go. config.go and dial.go lead into the internet;
// dns.go and certificate.go are its names and its authority. The other files are how it
// works: a connection goes from dial.go by address.go and gate.go to server.go and
// transport.go, and ends in smtp.go, web.go or realserver.go.
