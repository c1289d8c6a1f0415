// Package dsn has the sender's side of delivery status notifications:
//
//   - [MailOptions] and [RecipientOptions] are the parameters of MAIL and RCPT
//     that request notifications (RFC 3461).
//   - [Report] is a notification, usually a bounce (RFC 3464), as a message that
//     is ready to be sent.
//
// Whether a server supports the parameters (keyword DSN in its reply to EHLO),
// and to whom a report is due (RFC 3461 sections 5.2 and 6.1), is for the caller
// to decide.
package dsn
