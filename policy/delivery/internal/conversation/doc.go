// Package conversation leads the SMTP conversation with a mail host up to the verified
// session, and has the table of what every reply means, there and in the mail
// transaction after it. It decides about one connection; package delivery decides which
// host is next.
package conversation
