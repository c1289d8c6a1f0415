package dnsdata

import (
	"net"
	"testing"
)

// Listen listens on a port of 127.0.0.1 that is free for UDP and for TCP. The caller
// closes both.
func Listen(tb testing.TB) (net.PacketConn, net.Listener) {
	tb.Helper()
	for range 100 { // another process may hold the UDP port of a free TCP port
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			tb.Fatal(err)
		}
		packets, err := net.ListenPacket("udp", listener.Addr().String())
		if err == nil {
			return packets, listener
		}
		listener.Close()
	}
	tb.Fatal("no port is free for both TCP and UDP")
	return nil, nil
}
