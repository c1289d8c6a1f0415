package policytest

import (
	"io"
	"net"
	"testing"
)

// A mail host neither panics nor hangs on any input.
func FuzzHost(f *testing.F) {
	for _, session := range []string{
		"EHLO a\r\nMAIL FROM:<a@b> SIZE=1 REQUIRETLS\r\nRCPT TO:<c@d>\r\nDATA\r\n..x\r\n.\r\nQUIT\r\n",
		"STARTTLS\r\nEHLO a\r\n", "DATA\r\n.\r\n", "MAIL FROM:\r\nRCPT TO:<\r\nRSET\r\nNOOP\r\n", "EHLO a\r\nSTARTTLS\r\n\x16\x03",
	} {
		f.Add([]byte(session))
	}
	inet := New(f)
	h := inet.Host("mx.example.org")
	config := tlsConfig()
	f.Fuzz(func(t *testing.T, session []byte) {
		client, server := net.Pipe()
		done := make(chan struct{})
		go func() {
			defer close(done)
			defer server.Close()
			h.attend(&transport{Conn: server, server: &h.server, does: h.arrive()}, config)
		}()
		go io.Copy(io.Discard, client)
		client.Write(session)
		client.Close()
		<-done
		h.mu.Lock()
		defer h.mu.Unlock()
		h.sessions, h.messages = nil, nil
	})
}
