//go:build unix

package wire

import (
	"io"
	"net"
	"syscall"
)

// readNow reads what has arrived.
func readNow(conn net.Conn, p []byte) (n int, err error) {
	system, ok := conn.(syscall.Conn)
	if !ok {
		return readSoon(conn, p)
	}
	raw, err := system.SyscallConn()
	if err != nil {
		return 0, err
	}
	controlErr := raw.Read(func(fd uintptr) bool {
		for {
			if n, err = syscall.Read(int(fd), p); err != syscall.EINTR {
				return true
			}
		}
	})
	switch {
	case controlErr != nil:
		return 0, controlErr
	case err == syscall.EAGAIN:
		return 0, errNothing
	case err != nil:
		return 0, err
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}
