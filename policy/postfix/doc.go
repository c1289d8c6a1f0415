// Package postfix expresses a plan of package policy as a TLS policy of Postfix, in the
// form in which a map for smtp_tls_policy_maps answers.
//
// Package delivery can do all that a plan demands. Postfix can do less: it has one policy
// for all hosts of a domain, and looks up MX, address and TLSA records itself. [Policy]
// therefore chooses the policy that is weaker for no host than the plan is, and that serves
// as many hosts as possible. If there is none, the mail waits. What is lost is named in
// [Reply.Inexact].
//
//	the plan                                                 the policy
//	every host is authenticated by DANE, secure MX           dane-only
//	hosts with DANE, unusable TLSA records or no policy       dane
//	an enforced MTA-STS policy                               secure, match= the hosts it lists
//	some hosts by DANE, others by MTA-STS                    that of the best preference
//	insecure MX, TLSA records and an enforced policy         secure (see [Options.DeferInsecureMX])
//	MTA-STS testing or none, no policy                       none: what main.cf says
//	the same, with more hosts than the plan has              dane
//	the operator's floor Encrypted                           encrypt
//	pinned keys                                              fingerprint
//	the domain does not exist or accepts no mail             what the operator demands of every host;
//	                                                         none, if nothing: Postfix finds that out
//	a failed lookup; anything else                           the mail waits
//
// # What Postfix must have
//
// With dane and dane-only, Postfix authenticates by TLSA records that it looks up itself. It
// needs smtp_dns_support_level = dnssec, a validating resolver on a trusted path, and
// smtp_tls_dane_insecure_mx_policy = dane. A Postfix without such a resolver needs
// [Options.Fingerprints].
//
// The policies demand TLS 1.2, as the plan does, with two exceptions. The policy dane does
// not: the demand would send mail to hosts without a policy in cleartext. A sendmail
// understands no such demand. With secure, a certificate without DNS names counts by its
// common name, and a Postfix before 3.10.5 connects to hosts that the plan refuses; they
// must have the certificate of one that it does not refuse.
//
// The package has no state, looks up nothing, and its functions are safe for concurrent use.
package postfix
