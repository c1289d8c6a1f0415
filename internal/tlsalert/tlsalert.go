// Package tlsalert recognizes the TLS alerts of a peer in the errors of crypto/tls,
// which does not export their type.
package tlsalert

import (
	"errors"
	"net"
	"reflect"
	"strings"
)

// The alerts of a peer that lacks what TLS needs (RFC 8446 section 6.2).
const (
	handshakeFailure     = 40
	protocolVersion      = 70
	insufficientSecurity = 71
)

// Remote returns the number of the alert that the peer sent. ok is false for any other
// error.
func Remote(err error) (number uint8, ok bool) {
	var remote *net.OpError
	if !errors.As(err, &remote) || remote.Op != "remote error" {
		return 0, false
	}
	if alert := reflect.ValueOf(remote.Err); alert.Kind() == reflect.Uint8 {
		return uint8(alert.Uint()), true
	}
	return 0, false
}

// Incapable reports whether a handshake failed because the peer lacks what it needs: the
// version, a cipher suite or other parameters in common.
func Incapable(err error) bool {
	if number, ok := Remote(err); ok {
		return number == handshakeFailure || number == protocolVersion || number == insufficientSecurity
	}
	// A server may choose an old version and leave the alert to the client.
	for ; err != nil; err = errors.Unwrap(err) {
		if strings.HasPrefix(err.Error(), "tls: server selected unsupported protocol version") {
			return true
		}
	}
	return false
}
