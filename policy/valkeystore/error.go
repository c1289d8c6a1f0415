package valkeystore

import (
	"errors"

	"github.com/mxseal/mxseal/internal/names"
)

// ErrClosed is returned by the methods of a closed [Store].
var ErrClosed = errors.New("valkeystore: the store is closed")

var errDamaged = errors.New("stored value is not an entry of this domain")

// failure is the error of an operation. The text of err can come from a server
// and must not be able to forge log lines, so it is escaped and truncated.
type failure struct {
	doing string
	err   error
}

func (f *failure) Error() string {
	return "valkeystore: " + f.doing + ": " + names.Printable(f.err.Error(), maxDetail)
}

func (f *failure) Unwrap() error { return f.err }

// maxDetail limits the text of a server in an error or a log line, in octets.
const maxDetail = 256
