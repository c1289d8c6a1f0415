package policytest

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/netip"
)

// Option is a property or a fault of a mail host or an HTTPS host. It is given
// when the host is added, or for a time by Break. An option that concerns only
// mail has no effect on an HTTPS host, and the reverse. A function that applies
// several options to the same Behavior is an Option too.
type Option func(*Behavior)

// Behavior is what a host does during one connection. Options change it. The
// zero value means a host without faults.
type Behavior struct {
	connection int   // the number of the connection, from 0
	turns      []int // what InTurn chose

	refuse, blackhole bool
	stalling          []netip.Addr
	addrs             []string
	listen            string
	port              uint16

	certificate           []func(*x509.Certificate)
	otherKey, rsaKey      bool
	selfSigned, untrusted bool
	negativeSerial        bool
	tls                   []func(*tls.Config)
	maxHello              int
	tlsa                  []string

	script        map[string][]Action // by step
	inject        string
	noSTARTTLS    bool
	mustSTARTTLS  bool
	bareReplies   bool
	mixedCase     bool
	extensions    []string
	without       []string // keywords
	maxRecipients int
	tooMany       string

	http  func(http.ResponseWriter, *http.Request)
	http2 bool // nothing else
}

// behave returns the behavior of a host at the connection with a number.
func behave(connection int, options ...[]Option) *Behavior {
	b := &Behavior{connection: connection, script: make(map[string][]Action), port: 25}
	for _, list := range options {
		for _, option := range list {
			option(b)
		}
	}
	return b
}

// InTurn applies one option to each connection to the host: the first to the
// first connection, and so on. The last applies to all further connections. The
// connections are counted from the start, whether or not the option is in effect.
// NoFault changes nothing.
//
//	policytest.InTurn(policytest.Reply(policytest.Greeting, "450 4.7.1 greylisted"), policytest.NoFault)
func InTurn(options ...Option) Option {
	return func(b *Behavior) {
		if len(options) == 0 {
			return
		}
		turn := min(b.connection, len(options)-1)
		b.turns = append(b.turns, turn)
		options[turn](b)
	}
}

// NoFault is the option that changes nothing, for InTurn.
func NoFault(*Behavior) {}
