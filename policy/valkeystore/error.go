package valkeystore

import (
	"errors"
	"strconv"
)

// ErrClosed is the error of a [Store] that was closed.
var ErrClosed = errors.New("valkeystore: store is closed")

var errDamaged = errors.New("stored value is not an entry of this domain")

// failure tells what could not be done. The texts of a server are not to be
// trusted with a log.
type failure struct {
	doing string
	err   error
}

func (f *failure) Error() string { return "valkeystore: " + f.doing + ": " + printable(f.err.Error()) }

func (f *failure) Unwrap() error { return f.err }

const maxDetail = 256

// printable returns s in printable ASCII, shortened if long.
func printable(s string) string {
	if len(s) > maxDetail {
		s = s[:maxDetail] + "..."
	}
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			quoted := strconv.QuoteToASCII(s)
			return quoted[1 : len(quoted)-1]
		}
	}
	return s
}
