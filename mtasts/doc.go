// Package mtasts finds and remembers the MTA-STS policies of mail domains
// (RFC 8461).
//
// # The protocol
//
// A mail domain may require that its mail is sent only over authenticated TLS. If
// its zone is not signed, it cannot publish this in DNS alone: an attacker who
// forges its MX records would forge that too. With MTA-STS, the domain publishes a
// policy on a web site. The TXT record
//
//	_mta-sts.example.com. TXT "v=STSv1; id=20260101T000000;"
//
// announces that there is a policy, and
// https://mta-sts.example.com/.well-known/mta-sts.txt contains it:
//
//	version: STSv1
//	mode: enforce
//	mx: mail.example.com
//	mx: *.example.net
//	max_age: 604800
//
// The certificate of the web site authenticates the policy. Under this policy, a
// sender delivers only to hosts that match a pattern and have, over STARTTLS, a
// certificate that is valid for their name. An attacker without such a certificate
// can only prevent a sender from finding the policy, and only if the sender does
// not remember it. So memory is the most important part of the protocol. A policy
// stays in force for max_age seconds, usually weeks, whatever DNS and the web site
// answer in that time, until another valid policy replaces it.
//
// # Usage
//
// Most programs use this package through package policy, which combines it with
// DANE. To use it on its own, call [New] and [Client.Lookup]:
//
//	client, err := mtasts.New(mtasts.Config{})
//	...
//	defer client.Close()
//	result, err := client.Lookup(ctx, "example.com")
//	if p := result.Policy; p != nil && p.Mode == mtasts.Enforce && !p.MatchMX(host) {
//		// Do not send to host. Try the next one.
//	}
//
// crypto/tls verifies the certificate of a mail host against the host's name as
// usual; the patterns are not used for that. If no host is acceptable, the message
// waits. Before the message is returned to its sender, [Client.Recheck] must look
// for a newer policy.
//
// [ParseRecord], [SelectRecord], [ParsePolicy] and [Policy.MatchMX] are for
// programs that check the policies of others, or publish their own.
//
// # Memory
//
// Without a [Store], all policies are forgotten at each restart. Without
// [Client.Run], the policies of domains that rarely get mail expire:
//
//	store, err := boltstore.Open("/var/lib/mail/policies.db", boltstore.Config{})
//	...
//	client, err := mtasts.New(mtasts.Config{Store: store})
//	...
//	go client.Run(ctx)
//
// [Client.Preload] looks up domains before there is mail for them.
// [Config.OnEvent] is called when a policy is found, changes, weakens, expires, or
// cannot be fetched again.
//
// A domain is in one of five states ([Result.State]). Anything that is not in this
// table leaves the state unchanged.
//
//	state        | on                                          | becomes
//	-------------+---------------------------------------------+-------------
//	any without  | lookup is due, and DNS fails                | unknown, for a minute
//	a policy     | ... there is no valid record                | no policy, for the TTL (a minute to an hour)
//	             | ... record, but the fetch fails             | backing off, for five minutes
//	             | ... record, and the fetch succeeds          | in force, for max_age
//	-------------+---------------------------------------------+-------------
//	in force     | DNS fails, the record is gone or not valid  | in force, until the same time
//	             | lookup after the TTL: the id is the same    | in force, until the same time
//	             | ... another id, and the fetch succeeds      | in force, the new policy
//	             | ... another id, and the fetch fails         | failing
//	             | refresh, about once a day: fetch succeeds   | in force, for max_age from now
//	             | ... fetch fails                             | failing
//	             | max_age has passed                          | unknown, and looked up again
//	-------------+---------------------------------------------+-------------
//	failing      | a fetch succeeds, in five minutes to four   | in force, for max_age from now
//	             | hours, and sooner as the end gets closer    |
//	             | DNS has the old id again, and the fetches   | in force, until the same time
//	             | that failed were for another id             |
//	             | max_age has passed                          | unknown, and looked up again
//	-------------+---------------------------------------------+-------------
//	any          | the store has a newer policy                | in force, until that expires
//
// Only a fetch over HTTPS extends or replaces a policy, and any valid policy
// does, including one of mode none. A lookup waits for the first policy of a
// domain, but only a few seconds for a newer one; until then the old policy
// applies. While a policy is in force, one fetch in five minutes may fail,
// whatever ids DNS returns. While none is in force, three may, each for a
// different id.
//
// # Trust
//
// Only a certificate that is valid for mta-sts.DOMAIN is trusted. A forged DNS
// answer causes at most an HTTPS request. A fetch is limited to one minute and 64
// KiB, and never connects to the sender's own network. Reaching a limit is a
// failure, and a failure never removes a policy in force. Policies from a store
// are parsed again, and their times are checked against the clock. Revocation of
// the certificate is not checked (RFC 8461 section 3.3). An error about a domain
// is an [*Error] with a [Kind] and a reason code. The text of every error is safe
// to log.
package mtasts
