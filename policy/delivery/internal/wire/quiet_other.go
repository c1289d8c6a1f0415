//go:build !unix

package wire

import "net"

// readNow reads what has arrived.
func readNow(conn net.Conn, p []byte) (int, error) { return readSoon(conn, p) }
