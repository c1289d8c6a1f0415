//go:build unix

package wire

import (
	"io"
	"net"
	"syscall"
)

// readNow reads what has arrived. The system is asked only about connections of package
// net: others may have a TCPConn in them, and octets of its own or a Read that changes
// them.
func readNow(conn net.Conn, p []byte) (n int, err error) {
	var system syscall.Conn
	switch conn := conn.(type) {
	case *net.TCPConn:
		system = conn
	case *net.UnixConn:
		system = conn
	default:
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
