// Package policy makes a mail sender keep to what recipients publish about TLS:
// DANE (RFC 7672) first, MTA-STS (RFC 8461) as the fallback, and neither to
// excuse a failure of the other.
//
// Mail between servers is encrypted only if both sides feel like it. Whoever
// sits on the path can strip STARTTLS or forge MX records and read along. DANE
// puts the server's key into signed DNS, MTA-STS puts a list of mail hosts on
// an HTTPS server. For a recipient domain this package finds out which applies,
// and says of each mail host what a session with it must prove.
//
// # Send a mail
//
// Most programs want this:
//
//	resolver, err := policy.New(policy.Config{})
//	dialer := policy.Dialer{Resolver: resolver}
//	err = dialer.SendMail(ctx, "me@example.net", []string{"you@example.org"}, message)
//
// [Dialer.Dial] instead returns a client of package net/smtp after a verified
// STARTTLS, for those who speak SMTP themselves.
//
// # Keep your own SMTP client
//
// [Resolver.Resolve] returns a [Plan], and each [Host] in it the *tls.Config to
// use, the addresses to connect to and no others, and its [Level]:
//
//	plan, err := resolver.Resolve(ctx, "example.org")
//	for _, host := range plan.Order() {
//		switch host.Level {
//		case policy.Refused:       // go on to the next host
//		case policy.Opportunistic: // TLS if offered
//		default:                   // no mail without TLS by host.TLSConfig()
//		}
//	}
//	// Nothing worked: keep the mail, and try again later. Never send it with
//	// less protection, and never bounce it for this.
//
// [Host.TLSConfig] does the verification within the handshake. [Host.Session]
// says what a tlsrpt.Recorder should hear of it, [Host.Failure] and [Plan.Failed]
// what the queue should; the example of Host.Session has all of it. Before mail
// that a policy holds up is given up, [Resolver.Recheck] looks whether the policy
// is still the same.
//
// # The decision
//
// Each host is judged alone. A lookup of MX, address or TLSA records that fails,
// because it is bogus, times out or is answered by SERVFAIL, is never taken for
// "there are none":
//
//	MX RRset   TLSA at the host  MTA-STS     the session must
//	failed                                   not happen: the domain waits
//	any        lookup failed     any         not happen: the host is refused
//	secure     usable            any         be authenticated by DANE; MTA-STS is not asked
//	secure     none usable       no enforce  be encrypted
//	secure     none usable       enforce     match the allow-list and the web PKI
//	any        none              enforce     match the allow-list and the web PKI
//	any        none              testing     be opportunistic; what enforce would do is recorded
//	any        none              none        be opportunistic
//	insecure   usable            no enforce  be authenticated by DANE; the route is not
//	insecure   usable            enforce     match the allow-list, the web PKI and DANE
//	insecure   none usable       no enforce  be encrypted
//	insecure   none usable       enforce     match the allow-list and the web PKI
//
// "None" covers a host whose addresses are not secure: its TLSA records are not
// even asked for (RFC 7672 section 2.2.2). [Config] can raise every row, and no
// recipient can lower that; an [Override] pins, raises or switches off for one
// domain.
//
// # What it needs
//
// The zero [Config] validates DNSSEC itself, from the root key on, over the
// servers of /etc/resolv.conf, and believes none of them. These must pass
// DNSSEC data on; some home routers do not, and the error then says so.
//
// Use one [Resolver] for the whole program. What it remembers is what protects:
// an MTA-STS policy once seen is in force until its max_age is over, whatever
// somebody on the path hides. The first contact is what MTA-STS cannot protect
// (RFC 8461 section 10.2): there a lookup or a fetch that fails means no policy.
//
// Package policytest has a private internet for tests, with attackers in it.
package policy
