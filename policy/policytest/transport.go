package policytest

import (
	"encoding/binary"
	"io"
	"net"
)

// transport is one connection to a server, below TLS, with the behavior of the
// server during it.
type transport struct {
	net.Conn
	server *server
	does   *Behavior

	hello   bool // the next octets that are read are a ClientHello
	pending []byte
}

// The form of a TLS record (RFC 8446 section 5.1).
const (
	recordAlert  = 21 // the type of a record with an alert
	recordHeader = 5  // octets before the data
)

// Read reads what the client sent. It applies the script of the handshake when
// the ClientHello has arrived.
func (t *transport) Read(p []byte) (int, error) {
	if t.hello {
		t.hello = false
		if err := t.screen(); err != nil {
			return 0, err
		}
	}
	if len(t.pending) > 0 {
		n := copy(p, t.pending)
		t.pending = t.pending[n:]
		return n, nil
	}
	return t.Conn.Read(p)
}

// screen reads the first TLS record and decides what becomes of it.
func (t *transport) screen() error {
	action := progress{}.next(t.does, Handshake, false)
	if t.does.maxHello == 0 && action == Usual() {
		return nil
	}
	record := make([]byte, recordHeader)
	if _, err := io.ReadFull(t.Conn, record); err != nil {
		return err
	}
	size := int(binary.BigEndian.Uint16(record[3:]))
	record = append(record, make([]byte, size)...)
	if _, err := io.ReadFull(t.Conn, record[recordHeader:]); err != nil {
		return err
	}
	if t.does.maxHello > 0 && len(record) > t.does.maxHello {
		return t.ignore()
	}
	t.server.domain.inet.pause(action.delay)
	switch action.kind {
	case silence, endless:
		return t.ignore()
	case send:
		io.WriteString(t.Conn, action.text)
		return io.EOF
	}
	if action.close {
		return io.EOF
	}
	t.pending = record
	return nil
}

// ignore reads and discards everything until the connection ends.
func (t *transport) ignore() error {
	io.Copy(io.Discard, t.Conn)
	return io.EOF
}
