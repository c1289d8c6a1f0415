package policytest

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
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
	// that the client sent. Nil means that the session is in cleartext.
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
	h := &Host{server: server{domain: inet.domainOf(name), name: name, traits: options}}
	inet.addMailHost(name)
	starttls := tlsConfig()
	h.serve = func(t *transport) { inet.attend(t, func(t *transport) { h.attend(t, starttls) }) }
	b := h.behavior()
	h.port = b.port
	h.publish(b)
	h.PublishTLSA(b.tlsa...)
	return h
}

// addMailHost panics if there is a mail host with this name.
func (inet *Internet) addMailHost(name string) {
	inet.mu.Lock()
	defer inet.mu.Unlock()
	if inet.hosts[name] {
		panic(fmt.Sprintf("policytest: host %s already exists", name))
	}
	inet.hosts[name] = true
}

// PublishTLSA replaces the TLSA records of the host. The records have the same
// form as those of the TLSA option. Without arguments it removes all of them.
func (h *Host) PublishTLSA(records ...string) {
	var complete []string
	for _, record := range records {
		complete = append(complete, h.tlsa(record))
	}
	h.publishTLSA(complete)
}

// tlsa returns the data of a TLSA record. A record with three fields is
// completed with the data of the host's certificate.
func (h *Host) tlsa(record string) string {
	fields := strings.Fields(record)
	if len(fields) != 3 {
		return record
	}
	b := h.behavior()
	shown := h.chain(b)
	if b.otherKey {
		b.otherKey = false
		shown = h.domain.inet.issueChain(h.name, h.key(b), b)
	}
	cert := shown.cert
	if usage := fields[0]; (usage == "0" || usage == "2") && shown.issuer != nil {
		cert = shown.issuer
	}
	return TLSARecord(cert, record)
}

// Certificates returns the chain that the host presents at the next connection,
// leaf first.
func (h *Host) Certificates() []*x509.Certificate {
	return h.chain(h.behavior()).certificates()
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
