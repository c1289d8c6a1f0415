package mail

import (
	"context"
	"fmt"
	"net"
	"net/smtp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/internal/test/await"
	"github.com/mxseal/mxseal/internal/test/fakedns"
	"github.com/mxseal/mxseal/internal/test/interop/mailserver"
	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/delivery"
)

// TestPoolSendsToPostfix sends messages through a delivery.Pool to a Postfix, one after the other, side
// by side, by net/smtp, with recipients that it refuses in between, and over resumed
// sessions. Each arrives once, and the connections are few.
func TestPoolSendsToPostfix(t *testing.T) {
	ee := mailserver.NewServer(t, nil, "anything.invalid")
	server := mailserver.StartPostfix(t, []mailserver.Entrance{{Addr: selfSigned, Chain: ee.File(t)}})
	names := fakedns.Answers{}
	names.Add(t, dnssec.Secure, "ee.signed. MX 10 mx.ee.signed.")
	names.Add(t, dnssec.Secure, "mx.ee.signed. A "+selfSigned)
	names.Deny(dnssec.Secure, "mx.ee.signed. AAAA")
	names.Add(t, dnssec.Secure, "_25._tcp.mx.ee.signed. TLSA 3 1 1 "+ee.TLSAKey())
	var dialed atomic.Int64
	resolver, err := policy.New(policy.Config{DNS: names, NoMTASTS: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		dialed.Add(1)
		return new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(server.Ports[selfSigned])))
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer resolver.Close()
	dialer := &delivery.Dialer{Resolver: resolver, LocalName: "sender.example"}
	var mu sync.Mutex
	resumed := 0
	dialer.Delivered = func(d delivery.Delivery) {
		mu.Lock()
		defer mu.Unlock()
		if d.TLS.DidResume {
			resumed++
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	pool := &delivery.Pool{Dialer: dialer}
	defer pool.Close(ctx)
	var want []string
	text := func(subject string) []byte {
		want = append(want, subject)
		return fmt.Appendf(nil, "Subject: %s\r\n\r\nx\r\n", subject)
	}
	send := func(by *delivery.Pool, message []byte, to ...string) error {
		return by.SendMail(ctx, "sender@sender.example", to, message)
	}
	for i := range 30 {
		if err := send(pool, text(fmt.Sprint("alone ", i)), "postmaster@ee.signed"); err != nil {
			t.Fatal(err)
		}
		for session, err := range pool.Sessions(ctx, "ee.signed") {
			if err != nil {
				t.Fatal(err)
			}
			client, err := smtp.NewClient(session.NetConn(), session.Host.Name)
			if err != nil {
				t.Fatal(err)
			}
			if failure := session.Failure(overClient(client, text(fmt.Sprint("by net/smtp ", i)))); failure != nil {
				t.Fatal(failure.Err)
			}
			break
		}
	}
	if n := dialed.Load(); n != 1 {
		t.Errorf("%d connections for 60 messages", n)
	}
	var sending sync.WaitGroup
	for i := range 20 {
		message := text(fmt.Sprint("side by side ", i))
		sending.Go(func() {
			if err := send(pool, message, "postmaster@ee.signed"); err != nil {
				t.Error(err)
			}
		})
	}
	sending.Wait()
	if n := dialed.Load(); n > 20 {
		t.Errorf("%d connections after 20 messages side by side", n)
	}
	single := &delivery.Pool{Dialer: dialer, MaxUses: 1}
	defer single.Close(ctx)
	for i := range 10 {
		if err := send(single, text(fmt.Sprint("resumed ", i)), "postmaster@ee.signed"); err != nil {
			t.Fatal(err)
		}
	}
	if resumed == 0 {
		t.Error("Postfix gave no ticket that was used")
	}
	if err := pool.Close(ctx); err != nil {
		t.Error(err)
	}
	slices.Sort(want)
	var got []string
	await.Until(t, "all messages have arrived", func() bool {
		got = nil
		for _, message := range server.Messages(t) {
			_, subject, _ := strings.Cut(message, "\nSubject: ")
			subject, _, _ = strings.Cut(subject, "\n")
			got = append(got, subject)
		}
		return len(got) >= len(want)
	})
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("Postfix has %q, want %q", got, want)
	}
}

// overClient sends a message by net/smtp.
func overClient(client *smtp.Client, text []byte) error {
	defer client.Close()
	if err := client.Mail("sender@sender.example"); err != nil {
		return err
	}
	if err := client.Rcpt("postmaster@ee.signed"); err != nil {
		return err
	}
	data, err := client.Data()
	if err != nil {
		return err
	}
	data.Write(text)
	if err := data.Close(); err != nil {
		return err
	}
	return client.Quit()
}
