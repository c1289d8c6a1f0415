package policytest

import (
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"net"
	"slices"
	"strings"
)

// Host is a mail host. By default it accepts every message for every recipient.
// Break makes it fail. It is safe for concurrent use.
type Host struct {
	server

	// Guarded by server.mu.
	sessions []*Session
	messages []Message
}

// Session is one connection to a mail host, as seen by the host.
type Session struct {
	// Helo is the argument of the last EHLO or HELO command.
	Helo string
	// TLS is the TLS state on the side of the host. Its ServerName is the SNI
	// that the client sent. It is nil in cleartext.
	TLS *tls.ConnectionState
	// Commands are the first 1000 lines that the host received, without message
	// data.
	Commands []string
}

// Message is a message that a mail host received.
type Message struct {
	From   string   // the reverse-path, without angle brackets
	To     []string // the forward-paths, without angle brackets
	Params []string // the parameters of MAIL, such as "REQUIRETLS" or "BODY=8BITMIME"
	Data   []byte   // with CRLF line ends, without dot-stuffing
	// Session is the state of the session at the end of the message.
	Session Session
}

// Host adds a mail host and publishes its address. The host offers STARTTLS and
// has a certificate that chains to RootCAs. It belongs to the closest Domain at
// or above its name. If there is none, the name above it becomes a Domain.
//
//	inet.Host("mx.example.org", policytest.TLSA("3 1 1"))
func (inet *Internet) Host(name string, options ...Option) *Host {
	name = normal(name)
	h := &Host{server: server{domain: inet.domainOf(name), name: name, key: newKey(), traits: options}}
	inet.mu.Lock()
	if inet.hosts[name] != nil {
		inet.mu.Unlock()
		panic(fmt.Sprintf("policytest: host %s already exists", name))
	}
	inet.hosts[name] = h
	inet.mu.Unlock()

	starttls := h.tlsConfig()
	real := inet.listen(func(l net.Listener) {
		inet.accept(l, func(c net.Conn) { h.attend(c, starttls) })
	}, func() error { return nil })
	b := h.behaviour()
	h.publish(b.port, real)
	h.PublishTLSA(b.tlsa...)
	return h
}

// PublishTLSA replaces the TLSA records of the host. The records have the same
// form as those of the TLSA option. Without arguments it removes all of them.
func (h *Host) PublishTLSA(records ...string) {
	owner := fmt.Sprintf("_%d._tcp.%s.", h.behaviour().port, h.name)
	h.domain.Remove(owner)
	for _, record := range records {
		h.domain.Add(owner + " TLSA " + h.tlsa(record))
	}
}

// tlsa returns the data of a TLSA record. A record with three fields is
// completed with the data of the host's certificate.
func (h *Host) tlsa(record string) string {
	fields := strings.Fields(record)
	if len(fields) != 3 {
		return record
	}
	chain := h.chain()
	if b := h.behaviour(); b.otherKey {
		b.otherKey = false
		chain = h.domain.inet.issueChain(h.name, h.key, b)
	}
	cert := chain.Leaf
	if usage := fields[0]; (usage == "0" || usage == "2") && len(chain.Certificate) > 1 {
		cert, _ = x509.ParseCertificate(chain.Certificate[1]) // issued by this package
	}
	data := cert.Raw
	if fields[1] == "1" {
		data = cert.RawSubjectPublicKeyInfo
	}
	switch fields[2] {
	case "0":
	case "2":
		sum := sha512.Sum512(data)
		data = sum[:]
	default:
		sum := sha256.Sum256(data)
		data = sum[:]
	}
	return record + " " + hex.EncodeToString(data)
}

// Certificates returns the chain that the host presents now, leaf first.
func (h *Host) Certificates() []*x509.Certificate {
	var certs []*x509.Certificate
	for _, der := range h.chain().Certificate {
		cert, _ := x509.ParseCertificate(der) // issued by this package
		certs = append(certs, cert)
	}
	return certs
}

// Messages returns the messages received so far.
func (h *Host) Messages() []Message {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.messages)
}

// Sessions returns all connections so far, including the ones that are still
// open.
func (h *Host) Sessions() []Session {
	h.mu.Lock()
	defer h.mu.Unlock()
	sessions := make([]Session, len(h.sessions))
	for i, s := range h.sessions {
		sessions[i] = s.snapshot()
	}
	return sessions
}

func (s *Session) snapshot() Session {
	copied := *s
	copied.Commands = slices.Clone(s.Commands)
	return copied
}
