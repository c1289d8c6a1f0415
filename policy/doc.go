// Package policy decides how mail may be sent to a domain: which mail hosts may
// receive it, and what each TLS session with them must prove. DANE (RFC 7672)
// comes first, MTA-STS (RFC 8461) is the fallback, and neither excuses a failure
// of the other.
//
// Mail between servers is encrypted only if both sides agree. An attacker on the
// path can remove STARTTLS or forge MX records and read the mail. DANE publishes
// the key of the server in signed DNS; MTA-STS publishes a list of mail hosts on
// an HTTPS server. This package finds out which of them applies to a domain.
//
// # Send a mail
//
// Most programs use package delivery, which speaks SMTP by these decisions:
//
//	resolver, err := policy.New(policy.Config{})
//	...
//	defer resolver.Close()
//	dialer := delivery.Dialer{Resolver: resolver}
//	err = dialer.SendMail(ctx, "me@example.net", []string{"you@example.org"}, message)
//
// # Keep your own SMTP client
//
// [Resolver.Resolve] returns a [Plan]. Each [Host] in it has its [Level], the
// addresses to connect to, and a *tls.Config that verifies inside the handshake:
//
//	plan, err := resolver.Resolve(ctx, "example.org")
//	for _, host := range plan.Order() {
//		conn, err := host.DialContext(ctx, "tcp", host.Addr())
//		// greeting, EHLO, STARTTLS, then: tls.Client(conn, host.TLSConfig())
//		session, failure := host.Attempted(step, state, err)
//		recorder.Record(&session) // if it has Outcomes
//		if failure == nil {
//			// MAIL, RCPT, DATA
//		}
//	}
//	// No host worked: keep the mail and try again later. Never send it with
//	// less protection, and never bounce it because of a policy.
//
// [Host.Attempted] takes the [Step] where the attempt ended. It returns the session
// for a tlsrpt.Recorder, and the error for the queue or nil. Its example is a
// complete client. [Host.Replied] makes the error of a reply to MAIL, RCPT or DATA,
// and [Plan.Failed] that of the domain. Before mail fails because of a policy,
// [Resolver.Recheck] looks up the policy again.
//
// # The decision
//
// Each host is judged alone. An MX, address or TLSA lookup that fails, because the
// answer is bogus, a timeout or SERVFAIL, never counts as "none":
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
// "None" includes hosts whose addresses are not secure: their TLSA records are not
// queried (RFC 7672 section 2.2.2). [Config] can raise every row, and no recipient
// can lower that. An [Override] pins, raises or switches off for one domain.
//
// # Requirements
//
// The zero [Config] validates DNSSEC itself, from the root key, through the servers
// in /etc/resolv.conf, and trusts none of them. These must pass on DNSSEC data. Some
// home routers do not; the error then says so.
//
// Use one [Resolver] for the whole program. It remembers MTA-STS policies: a policy
// stays in force until its max_age is over, whatever an attacker hides. MTA-STS does
// not protect the first contact (RFC 8461 section 10.2): if the lookup or the fetch
// fails then, there is no policy.
//
// Package policytest has a private internet for tests, with attackers in it.
//
// # Stability
//
// The module follows semantic versioning. Before v1.0.0, a minor version may change
// the exported API; the changelog lists each change with its replacement. From
// v1.0.0 on, the following holds within a major version, for all packages of the
// module outside internal:
//
//   - The exported API stays compatible, as in the Go 1 compatibility promise.
//     Structs may gain fields, so name the fields in literals. New constants of
//     Level, Mechanism and Step may be added, so treat an unknown Level as Refused.
//   - No release makes a row of the decision table weaker, nor the zero Config. A
//     release may make them stricter if an RFC or an attack requires it; the
//     changelog says so first.
//   - The sentinel errors, the TLS-RPT result types and reason codes, and the
//     enhanced status codes keep their meaning.
//   - The JSON of plans and errors may gain fields. Existing names and types stay.
//   - Formats in stores are read by later versions.
//   - The texts of errors, logs and Explain may change in every release. Do not
//     parse them.
package policy
