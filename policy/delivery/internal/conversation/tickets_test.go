package conversation

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxseal/mxseal/policy"
)

// The memory for tickets is bounded, whatever servers send, and the newest ticket is kept.
func TestTicketsAreBounded(t *testing.T) {
	t.Parallel()
	tickets := NewTickets()
	for i := range 1000 {
		state, err := tls.NewResumptionState(make([]byte, 1000*i), &tls.SessionState{})
		if err != nil {
			t.Fatal(err)
		}
		own := &ticket{tickets: tickets, key: fmt.Sprint(i)}
		own.verified([]*x509.Certificate{{Raw: make([]byte, 100*i)}})
		own.Put("", state)
		if _, ok := own.Get(""); !ok {
			t.Fatalf("ticket %d was not kept", i)
		}
		if bytes := tickets.states.Bytes(); bytes > maxTickets {
			t.Fatalf("%d octets, more than %d", bytes, maxTickets)
		}
	}
	huge, err := tls.NewResumptionState(make([]byte, maxTickets), &tls.SessionState{})
	if err != nil {
		t.Fatal(err)
	}
	own := &ticket{tickets: tickets, key: "huge"}
	own.verified([]*x509.Certificate{{}})
	own.Put("", huge)
	if _, ok := own.Get(""); ok {
		t.Error("a ticket as large as the bound was kept")
	}
}

// A ticket is kept only when its session is verified, and under its own key. It is not
// offered where a full handshake is demanded, and is gone when it failed (decision
// "Resumption").
func TestTicketOfOneConnection(t *testing.T) {
	t.Parallel()
	state, err := tls.NewResumptionState([]byte("ticket"), &tls.SessionState{})
	if err != nil {
		t.Fatal(err)
	}
	tickets := NewTickets()
	has := func(key string) bool {
		_, ok := (&ticket{tickets: tickets, key: key}).Get("whatever crypto/tls asks for")
		return ok
	}
	first := &ticket{tickets: tickets, key: "a"}
	first.Put("", state)
	if has("a") {
		t.Error("a ticket of a session that is not verified was kept")
	}
	first.verified([]*x509.Certificate{{}})
	if !has("a") || has("b") || has("") {
		t.Error("the ticket is not where it belongs")
	}
	if _, ok := (&ticket{tickets: tickets, key: "a", full: true}).Get(""); ok {
		t.Error("a ticket is offered in a full handshake")
	}
	(&ticket{tickets: tickets, key: "a"}).drop()
	if has("a") {
		t.Error("the ticket that failed is still there")
	}
	(&ticket{tickets: tickets, key: "c"}).verified(nil)
	later := &ticket{tickets: tickets, key: "c"}
	later.verified([]*x509.Certificate{{}})
	later.Put("", state)
	later.Put("", nil)
	if has("c") {
		t.Error("crypto/tls has dropped the ticket, and it is still there")
	}
}

// A session that was verified keeps the ticket of an earlier one until it has a new one.
// Without a certificate, nothing was verified.
func TestTicketStaysUntilThereIsANewOne(t *testing.T) {
	t.Parallel()
	tickets, state := NewTickets(), newState(t, 100)
	first := &ticket{tickets: tickets, key: "a"}
	first.Put("", state)
	first.verified([]*x509.Certificate{{}})
	second := &ticket{tickets: tickets, key: "a"}
	second.verified([]*x509.Certificate{{}})
	if got, ok := second.Get(""); !ok || got != state {
		t.Errorf("the ticket is %v", got)
	}
	without := &ticket{tickets: tickets, key: "b"}
	without.Put("", state)
	without.verified(nil)
	if _, ok := without.Get(""); ok {
		t.Error("a ticket of a session without a certificate was kept")
	}
}

// What a ticket takes counts: its key, its octets, and the certificates four times.
func TestSizeOfTicket(t *testing.T) {
	t.Parallel()
	bytes := func(key string, octets, certificate int) int {
		tickets := NewTickets()
		own := &ticket{tickets: tickets, key: key}
		own.verified([]*x509.Certificate{{Raw: make([]byte, certificate)}})
		own.Put("", newState(t, octets))
		return tickets.states.Bytes()
	}
	least := bytes("a", 1000, 0)
	for what, tt := range map[string]struct{ got, want int }{
		"a longer key":         {bytes("abcdefgh", 1000, 0), 7},
		"a certificate":        {bytes("a", 1000, 100), 100 * certificateSize},
		"two hundred of those": {bytes("a", 1000, 20_000), 20_000 * certificateSize},
	} {
		if tt.got-least != tt.want {
			t.Errorf("%s: %d octets more, want %d", what, tt.got-least, tt.want)
		}
	}
}

// A ticket is kept for a day.
func TestLifeOfTicket(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		own := &ticket{tickets: NewTickets(), key: "a"}
		own.verified([]*x509.Certificate{{}})
		own.Put("", newState(t, 100))
		<-time.After(ticketLife - 1)
		if _, ok := own.Get(""); !ok {
			t.Error("the ticket has ended before its time")
		}
		<-time.After(1)
		if _, ok := own.Get(""); ok {
			t.Error("the ticket is older than a day")
		}
	})
}

// Only a connection with current TLS, and with a client certificate known before, has a ticket.
func TestTicketIsForCurrentTLS(t *testing.T) {
	t.Parallel()
	for offer, want := range map[Offer]bool{CurrentTLS: true, OldTLS: false, ClearOnly: false} {
		c := &Conversation{Host: new(policy.Host), Offer: offer, Tickets: NewTickets()}
		if got := c.ticketFor(custom{}) != nil; got != want {
			t.Errorf("offer %d: %v", offer, got)
		}
	}
}

func newState(t *testing.T, octets int) *tls.ClientSessionState {
	t.Helper()
	state, err := tls.NewResumptionState(make([]byte, octets), &tls.SessionState{})
	if err != nil {
		t.Fatal(err)
	}
	return state
}
