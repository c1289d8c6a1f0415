// Package delivery sends mail by the plans of package policy: it speaks SMTP with
// the mail hosts of a domain and enforces DANE (RFC 7672) and MTA-STS (RFC 8461)
// inside the TLS handshake.
//
// # Send a message
//
//	resolver, err := policy.New(policy.Config{})
//	...
//	defer resolver.Close()
//	dialer := &delivery.Dialer{Resolver: resolver}
//	err = dialer.SendMail(ctx, "me@example.net", []string{"you@example.org"}, message)
//
// The error is a [*SendError] that names the recipients who did not get the message.
// Those whose error is temporary get it with a later call. A policy failure is
// temporary: the mail waits.
//
// # Speak SMTP yourself
//
// [Dialer.Dial] returns a [Client], a client of net/smtp in a session that meets the
// plan. Where no policy applies, that may be TLS without verification, or cleartext:
// see [Client.TLS] and the level of the client's host.
//
//	client, err := dialer.Dial(ctx, "example.org")
//	defer client.Close()
//	err = client.Mail("me@example.net")
//
// # Use your own SMTP client
//
// [Dialer.Sessions] yields verified sessions, host after host. [Session.NetConn] is a
// connection for any SMTP client, which begins as though the server had just sent its
// greeting. [Session.Failure] says what an error of that client means. A program with a
// loop of its own over mail hosts uses [Dialer.DialHost].
//
//	for session, err := range dialer.Sessions(ctx, "example.org") {
//		...
//	}
//
// # Send many messages
//
// A [Pool] sends as its Dialer does, and keeps each session for the next message to the
// same host, as far as the plan of that message permits it.
//
//	pool := &delivery.Pool{Dialer: dialer}
//	defer pool.Close(ctx)
//	err = pool.SendMail(ctx, "me@example.net", []string{"you@example.org"}, message)
//
// # Report
//
// Set [Dialer.Recorder] to record each session for TLS-RPT (RFC 8460), and
// [Dialer.Delivered] to log how each message was delivered.
//
// A program that speaks STARTTLS itself does not need this package: package policy
// has what this one is made from.
package delivery
