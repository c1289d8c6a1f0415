// Package tlsrpt is the vocabulary of SMTP TLS reporting (RFC 8460): what a
// sender records of its TLS sessions, and the DNS record by which a domain asks
// for reports.
//
// # TLS reporting
//
// A domain that requires TLS on its mail, by DANE or by MTA-STS, does not see
// the senders that fail to establish it. Their mail is delayed or returned. So
// the domain publishes an address for reports:
//
//	_smtp._tls.example.com. TXT "v=TLSRPTv1; rua=mailto:tls@example.com"
//
// Once a day each sender reports how many sessions met the domain's policy, how
// many did not, and why. [SelectRecord] finds and parses the record.
//
// # Sessions
//
// A sender describes each attempt to deliver as a [Session] and passes it to a
// [Recorder]. A Session has one [Outcome] for each [Policy] that applied. An
// Outcome without failures is a success, and so is one that met a remembered
// policy. Successes are counted as well, because a report that shows no failures
// is useful to the domain.
//
// A [Failure] has one of the eleven registered [ResultType] values, and usually a
// reason code of [Reasons]. [Explain] says what the recipient should do. [Classify]
// returns the Failure for the error that ended a session. An error of another
// package can choose its own result by the method
//
//	TLSReport() (resultType, reasonCode string)
//
// which does not require an import of this package.
//
// # Related packages
//
// Package tlsrpt/reporter counts sessions and sends the reports. Package
// tlsrpt/report writes, reads and explains the reports themselves.
package tlsrpt
