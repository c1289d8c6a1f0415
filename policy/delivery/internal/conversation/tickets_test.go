package conversation

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"testing"
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
