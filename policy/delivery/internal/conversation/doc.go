// Package conversation leads the SMTP conversation with a mail host up to the
// verified session, and has the table of what every reply means, there and in the
// mail transaction after it. It decides about one connection; which host is next is
// the business of package delivery.
package conversation
