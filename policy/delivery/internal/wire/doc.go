// Package wire speaks the octets of SMTP (RFC 5321): replies in, commands and messages
// out. It decides nothing: package delivery decides what a reply means for a message.
//
// Everything that a server sends is hostile. Each step of a conversation has a
// deadline and a bound on the octets read, and neither grows when a server sends
// a little at a time. A reply is read strictly where an attacker could gain
// something (nothing may follow the reply to STARTTLS) and leniently where RFC
// 5321 says so (a reply may consist of a code alone).
package wire
