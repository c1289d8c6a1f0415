package conversation

import (
	"crypto/tls"
	"crypto/x509"
	"hash/maphash"
	"strconv"
	"strings"
	"time"

	"github.com/mxseal/mxseal/internal/cache"
)

// Tickets keeps TLS sessions for resumption, within a bound. Each plan key, host, name
// for SNI, level and customized configuration has one of its own, so that a ticket which
// was not verified is never offered where verification is demanded.
//
// A resumed session is verified as a full one, by the current plan: Host.Verify judges
// the certificates of the first handshake. Package crypto/tls sends no early data over
// TCP. Tickets is safe for concurrent use.
type Tickets struct {
	states *cache.Cache[string, *tls.ClientSessionState]
}

const (
	// maxTickets bounds the memory of all tickets in octets.
	maxTickets = 16 << 20
	// certificateSize estimates the memory that an octet of a certificate takes: the
	// octets, and what was parsed from them.
	certificateSize = 4
	// ticketLife is how long a ticket is kept, which RFC 8446 section 4.6.1 bounds by a
	// week. A server that wants less says so, and crypto/tls heeds it.
	ticketLife = 24 * time.Hour
)

// NewTickets returns an empty store of tickets.
func NewTickets() *Tickets {
	states, err := cache.New[string, *tls.ClientSessionState](cache.Config{MaxBytes: maxTickets}, maphash.String)
	if err != nil {
		panic(err) // the bound is a constant
	}
	return &Tickets{states}
}

// ticket is the tls.ClientSessionCache of one connection: one entry of Tickets. It has
// the entry of its own key, whatever key crypto/tls asks for.
type ticket struct {
	tickets *Tickets
	key     string
	full    bool // offer none

	offered bool
	held    *tls.ClientSessionState // that came before the session was verified
	chain   []*x509.Certificate     // of the verified session; nil before that
}

// ticketFor returns the ticket of the conversation, or nil without resumption. A client
// certificate that is chosen in the handshake may be another one each time, and a resumed
// session has that of the first.
func (c *Conversation) ticketFor(custom custom) *ticket {
	if c.Tickets == nil || c.Offer != CurrentTLS || custom.choose != nil {
		return nil
	}
	key := strings.Join([]string{
		c.Host.Name, strconv.Itoa(int(c.Host.Port)), c.Host.ServerName, c.Host.Level.String(), c.PlanKey, custom.fields,
	}, "\x00")
	return &ticket{tickets: c.Tickets, key: key, full: c.FullHandshake}
}

// Get is for package crypto/tls.
func (t *ticket) Get(string) (*tls.ClientSessionState, bool) {
	if t.full {
		return nil, false
	}
	state, ok := t.tickets.states.Get(t.key, time.Now())
	t.offered = ok
	return state, ok
}

// Put is for package crypto/tls. It keeps the tickets of verified sessions only.
func (t *ticket) Put(_ string, state *tls.ClientSessionState) {
	switch {
	case state == nil:
		t.drop()
	case t.chain == nil:
		t.held = state
	default:
		t.store(state)
	}
}

// verified notes that the session is established, as the plan demands.
func (t *ticket) verified(chain []*x509.Certificate) {
	t.chain = chain
	if t.held != nil && chain != nil {
		t.store(t.held)
	}
}

func (t *ticket) store(state *tls.ClientSessionState) {
	octets, _, err := state.ResumptionState()
	if err != nil {
		return
	}
	size := len(octets) + len(t.key)
	for _, certificate := range t.chain {
		size += certificateSize * len(certificate.Raw)
	}
	now := time.Now()
	t.tickets.states.Put(t.key, state, size, now.Add(ticketLife), now)
}

func (t *ticket) drop() { t.tickets.states.Remove(t.key) }
