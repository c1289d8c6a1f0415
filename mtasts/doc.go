// Package mtasts finds and keeps the MTA-STS policies of mail domains
// (RFC 8461).
//
// # The idea
//
// A mail domain that wants its mail sent over authenticated TLS only, and whose
// zone is not signed, cannot say so in DNS alone: whoever forges its MX records
// would forge that too. With MTA-STS it says so on a web site. A TXT record
//
//	_mta-sts.example.com. TXT "v=STSv1; id=20260101T000000;"
//
// tells that there is a policy, and
// https://mta-sts.example.com/.well-known/mta-sts.txt has it:
//
//	version: STSv1
//	mode: enforce
//	mx: mail.example.com
//	mx: *.example.net
//	max_age: 604800
//
// The certificate of the web site authenticates the policy. Under it a sender
// gives mail only to hosts that match a pattern and have, over STARTTLS, a
// certificate that is valid for their name. An attacker who has no such
// certificate can only keep the policy from being found, and that only from a
// sender that does not remember it. So the memory is the better part of the
// protocol: a policy stays in force for max_age seconds, weeks as a rule,
// whatever DNS and the web site say or fail to say meanwhile, until another
// valid policy takes its place.
//
// # What to use
//
// Most programs use the package through package policy, which combines it with
// DANE. On its own, [New] and [Client.Lookup] are all that is needed:
//
//	client, err := mtasts.New(mtasts.Config{})
//	...
//	result, err := client.Lookup(ctx, "example.com")
//	if p := result.Policy; p != nil && p.Mode == mtasts.Enforce && !p.MatchMX(host) {
//		// Do not send to host. Try the next one.
//	}
//
// The certificate of a mail host is verified against the host's name by
// crypto/tls as usual; the patterns have no part in that. When no host will do,
// the message waits, and before it is ever returned to its sender,
// [Client.Recheck] must have looked for a newer policy.
//
// [ParseRecord], [SelectRecord], [ParsePolicy] and [Policy.MatchMX] are for
// those who check the policies of others or serve their own.
//
// # Remembering
//
// A memory is lost at each restart without a [Store], and runs out for domains
// that get mail too seldom without [Client.Run]:
//
//	store, err := boltstore.Open("/var/lib/mail/policies.db", boltstore.Options{})
//	...
//	client, err := mtasts.New(mtasts.Config{Store: store})
//	...
//	go client.Run(ctx)
//
// [Client.Preload] makes the first contact with domains before there is mail for
// them. [Config.OnEvent] tells of policies that come, change, weaken, go, or
// cannot be fetched again.
//
// A domain is in one of five states, which [Result.State] tells. Whatever is not
// in the table leaves it where it is.
//
//	state        | on                                          | becomes
//	-------------+---------------------------------------------+-------------
//	any without  | lookup when it is time: DNS fails           | unknown, for a minute
//	a policy     | ... there is no valid record                | no policy, for the TTL (a minute to an hour)
//	             | ... record, but the fetch fails             | backing off, for five minutes
//	             | ... record, and the fetch succeeds          | in force, for max_age
//	-------------+---------------------------------------------+-------------
//	in force     | DNS fails, the record is gone or not valid  | in force, to the same end
//	             | lookup after the TTL: the id is the same    | in force, to the same end
//	             | ... another id, and the fetch succeeds      | in force, the new policy
//	             | ... another id, and the fetch fails         | failing
//	             | refresh, about once a day: fetch succeeds   | in force, for max_age from now
//	             | ... fetch fails                             | failing
//	             | max_age has passed                          | unknown, and looked up
//	-------------+---------------------------------------------+-------------
//	failing      | a fetch succeeds, in five minutes to four   | in force, for max_age from now
//	             | hours, and ever sooner towards the end      |
//	             | the id is the old one again, and it was     | in force, to the same end
//	             | another one whose policy could not be had   |
//	             | max_age has passed                          | unknown, and looked up
//	-------------+---------------------------------------------+-------------
//	any          | the store has a newer policy                | in force, to its end
//
// Only a fetch over HTTPS extends a policy or replaces it, and any valid one
// does, mode none too. A lookup waits for the first policy of a domain, but for
// a newer one only some seconds: the old one counts until the new one is in
// hand. While a policy is in force, one fetch may fail in five minutes, whatever
// ids DNS makes up; without one, three may, each for an id of its own.
//
// # What is trusted
//
// Nothing but a certificate that is valid for mta-sts.DOMAIN. DNS may lie, which
// costs at most an HTTPS request; a policy host may send what it likes for as
// long as it likes, and gets a minute, 64 KiB, and no connection into the
// sender's own network. Bounds that are hit are failures, and a failure never
// removes a policy in force. A store is parsed again and held against the clock. Revocation of the certificate is not checked, as
// RFC 8461 section 3.3 permits. Errors have a [Kind] and a reason code and their
// text is safe to log.
package mtasts
