package conversation

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"testing"
)

// What servers send for resumption is bounded in memory, whatever its size, and the
// newest is there.
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
