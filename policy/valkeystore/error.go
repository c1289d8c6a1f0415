package valkeystore

import (
	"errors"

	"github.com/mxseal/mxseal/internal/names"
)

// ErrClosed is the error of a [Store] after Close.
var ErrClosed = errors.New("valkeystore: store is closed")

var errDamaged = errors.New("stored value is not an entry of this domain")

// failure says what failed. The text of err can come from a server, which must not
// be able to forge lines of a log.
type failure struct {
	doing string
	err   error
}

func (f *failure) Error() string {
	return "valkeystore: " + f.doing + ": " + names.Printable(f.err.Error(), maxDetail)
}

func (f *failure) Unwrap() error { return f.err }

// maxDetail bounds the text of a server in an error or a log line, in octets.
const maxDetail = 256
