package lack_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/mxseal/mxseal/internal/lack"
)

type busy bool

func (b busy) Error() string { return "busy" }
func (b busy) Busy() bool    { return bool(b) }

func TestLackOfFilesAndMemory(t *testing.T) {
	t.Parallel()
	dial := func(errno syscall.Errno) error {
		return fmt.Errorf("dialing: %w", &net.OpError{Op: "dial", Net: "udp", Err: os.NewSyscallError("socket", errno)})
	}
	for _, tt := range []struct {
		err            error
		of, everywhere bool
	}{
		{nil, false, false},
		{io.EOF, false, false},
		{dial(syscall.ECONNREFUSED), false, false},
		{dial(syscall.ENETUNREACH), false, false},
		{os.ErrDeadlineExceeded, false, false},
		{dial(syscall.EMFILE), true, true},
		{dial(syscall.ENFILE), true, true},
		{dial(syscall.ENOBUFS), true, true},
		{dial(syscall.ENOMEM), true, true},
		{dial(syscall.EAGAIN), true, false},
		{dial(syscall.EADDRNOTAVAIL), true, false},
		{busy(true), true, false},
		{busy(false), false, false},
		{errors.Join(io.EOF, dial(syscall.EMFILE)), true, true},
	} {
		if of, everywhere := lack.Of(tt.err), lack.Everywhere(tt.err); of != tt.of || everywhere != tt.everywhere {
			t.Errorf("%v: %v, %v", tt.err, of, everywhere)
		}
	}
}
