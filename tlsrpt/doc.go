// Package tlsrpt has the vocabulary of SMTP TLS reporting (RFC 8460).
package tlsrpt
