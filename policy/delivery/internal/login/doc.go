// Package login authenticates the sender to a server by AUTH (RFC 4954). The caller
// sees to it that the session is with the host that the credentials are for.
package login
