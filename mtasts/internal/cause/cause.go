// Package cause says what the errors of resolvers and connections mean.
package cause

import (
	"context"
	"errors"
	"net"
)

// IsNotFound reports whether a resolver says that there are no such records.
func IsNotFound(err error) bool {
	var dns *net.DNSError
	return errors.As(err, &dns) && dns.IsNotFound
}

// IsTimeout reports whether the error is a timeout.
func IsTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

// DNSReason returns the reason code of a failed lookup, that of the resolver if it has one.
// It may have any text.
func DNSReason(err error) string {
	var reporter interface {
		TLSReport() (resultType, reasonCode string)
	}
	if errors.As(err, &reporter) {
		if _, code := reporter.TLSReport(); code != "" {
			return code
		}
	}
	switch {
	case IsNotFound(err):
		return "dns-not-found"
	case IsTimeout(err), errors.Is(err, context.DeadlineExceeded):
		return "dns-timeout"
	default:
		return "dns-failure"
	}
}
