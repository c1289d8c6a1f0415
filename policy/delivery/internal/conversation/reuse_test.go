package conversation

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxseal/mxseal/internal/test/testpki"
	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/delivery/internal/wire"
)

var withREQUIRETLS = wire.Reply{Code: 250, Lines: []string{"mx.example.net", "REQUIRETLS"}}

// A kept session fits if it has what the plan demands, before anything is verified.
func TestFitsOfKeptSession(t *testing.T) {
	t.Parallel()
	cleartext, encrypted := Circumstances{}, Circumstances{InTLS: true}
	mandatory, requireTLS := Circumstances{Mandatory: true}, Circumstances{RequireTLS: true}
	for _, tt := range []struct {
		what string
		now  Circumstances
		kept Conversation
		want bool
	}{
		{"cleartext", Circumstances{}, Conversation{Circumstances: cleartext}, true},
		{"cleartext where TLS is demanded", mandatory, Conversation{Circumstances: cleartext}, false},
		{"TLS where it is demanded", mandatory, Conversation{Circumstances: encrypted}, true},
		{"old TLS where TLS is demanded", mandatory, Conversation{Circumstances: encrypted, Offer: OldTLS}, false},
		{"old TLS", Circumstances{}, Conversation{Circumstances: encrypted, Offer: OldTLS}, true},
		{"REQUIRETLS in TLS", requireTLS, Conversation{Circumstances: encrypted, Hello: withREQUIRETLS}, true},
		{"REQUIRETLS in cleartext", requireTLS, Conversation{Circumstances: cleartext, Hello: withREQUIRETLS}, false},
		{"TLS without REQUIRETLS", requireTLS, Conversation{Circumstances: encrypted}, false},
		{"resumed, proved less", mandatory, Conversation{Circumstances: encrypted, resumed: true, Proven: policy.Opportunistic}, false},
		{"resumed, proved the same", mandatory, Conversation{Circumstances: encrypted, resumed: true, Proven: policy.Encrypted}, true},
		{"resumed, proved more", mandatory, Conversation{Circumstances: encrypted, resumed: true, Proven: policy.Authenticated}, true},
		{"not resumed, proved less", mandatory, Conversation{Circumstances: encrypted, Proven: policy.Opportunistic}, true},
	} {
		c := &Conversation{Host: &policy.Host{Level: policy.Encrypted}, Circumstances: tt.now}
		if got := c.Fits(&tt.kept); got != tt.want {
			t.Errorf("%s: %v", tt.what, got)
		}
	}
}

// A session in cleartext is accepted by its level, even if nothing else refuses it.
func TestCleartextIsAcceptedByLevel(t *testing.T) {
	t.Parallel()
	for level, want := range map[policy.Level]bool{policy.Refused: false, policy.Opportunistic: true, policy.Encrypted: false, policy.Authenticated: false} {
		c := &Conversation{Host: &policy.Host{Level: level}}
		if got := c.accepts(new(Conversation)); got != want {
			t.Errorf("%v: %v", level, got)
		}
	}
}

// keptSession returns the server's end of a connection, and a conversation that holds the
// client's end.
func keptSession() (net.Conn, *Conversation) {
	client, server := net.Pipe()
	return server, &Conversation{Conn: wire.NewConn(client)}
}

// hear returns what the client sends until it waits or closes the connection.
func hear(server net.Conn) string {
	server.SetReadDeadline(time.Now().Add(time.Hour))
	line := make([]byte, 100)
	n, _ := server.Read(line)
	return string(line[:n])
}

// What a session has shown goes with it: a later plan depends on that.
func TestTakenOverSessionKeepsWhatItShowed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		server, kept := keptSession()
		defer server.Close()
		certificate := testpki.Root(t, "Test CA").Server(t, []string{"mx.example.net"}).TLS()
		go func() {
			inTLS := tls.Server(server, &tls.Config{Certificates: []tls.Certificate{certificate}, SessionTicketsDisabled: true, MaxVersion: tls.VersionTLS13})
			inTLS.Handshake()
			inTLS.Read(make([]byte, 1))
		}()
		if err := kept.Conn.StartTLS(t.Context(), time.Minute, &tls.Config{InsecureSkipVerify: true}); err != nil {
			t.Fatal(err)
		}
		c := &Conversation{
			Host:      &policy.Host{Level: policy.Opportunistic},
			Customize: func(config *tls.Config) { config.MinVersion = tls.VersionTLS13 }, // which the session has
		}
		kept.LocalName, kept.Hello, kept.Uses, kept.Offer = "sender.example", withREQUIRETLS, 3, OldTLS
		kept.InTLS, kept.FellBack, kept.Proven, kept.resumed = true, true, policy.Encrypted, true
		before := *c
		before.Offer = kept.Offer
		_, kept.custom = before.tlsConfig()
		want := &Conversation{
			Host: c.Host, Conn: kept.Conn, LocalName: kept.LocalName, Offer: OldTLS, Circumstances: kept.Circumstances,
			Hello: kept.Hello, At: StepEHLOInTLS, Last: Ruling{Action: Proceed, Verdict: Pending, Alive: true},
			Proven: policy.Encrypted, Reused: true, ResetDue: true, Uses: 3, custom: kept.custom, resumed: true,
		}
		taken := c.TakeOver(t.Context(), kept, false)
		c.Customize = nil
		if !taken || !reflect.DeepEqual(c, want) {
			t.Errorf("taken over: %v\n%+v\nwant\n%+v", taken, c, want)
		}
		kept.Conn.Abort()
	})
}

// A session that does not fit, or in which the server has said something, is closed before
// anything else is said.
func TestSessionThatDoesNotFitIsClosed(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		unasked string
		now     Circumstances
		heard   string
	}{
		"it has said something":    {unasked: "421 too idle\r\n"},
		"it does not offer enough": {now: Circumstances{RequireTLS: true}, heard: "QUIT\r\n"},
	} {
		synctest.Test(t, func(t *testing.T) {
			server, kept := keptSession()
			defer server.Close()
			heard := make(chan string, 1)
			go func() {
				io.WriteString(server, tt.unasked)
				heard <- hear(server)
			}()
			synctest.Wait()
			c := &Conversation{Host: &policy.Host{Level: policy.Opportunistic}, Circumstances: tt.now}
			if c.TakeOver(t.Context(), kept, false) {
				t.Errorf("%s: the session was taken over", name)
				kept.Conn.Abort()
			}
			if got := <-heard; got != tt.heard {
				t.Errorf("%s: the server heard %q, want %q", name, got, tt.heard)
			}
		})
	}
}

// Only success answers RSET, and within the shorter one of two times.
func TestTakeOverResets(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		reply   string // "" means none
		timeout time.Duration
		want    bool
		after   time.Duration // the end of a connection without reply
	}{
		"success":                {reply: "250 ok\r\n", timeout: time.Minute, want: true},
		"a failure":              {reply: "500 what?\r\n", timeout: time.Minute},
		"no reply":               {timeout: time.Minute, after: ResetTimeout},
		"no reply in short time": {timeout: time.Second, after: time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			server, kept := keptSession()
			defer server.Close()
			after := make(chan time.Duration, 1)
			go func() {
				if got := hear(server); got != "RSET\r\n" {
					t.Errorf("%s: the server heard %q", name, got)
				}
				start := time.Now()
				io.WriteString(server, tt.reply)
				hear(server)
				after <- time.Since(start)
			}()
			c := &Conversation{Host: &policy.Host{Level: policy.Opportunistic}, Timeouts: Timeouts{Command: tt.timeout}}
			if got := c.TakeOver(t.Context(), kept, true); got != tt.want || c.ResetDue {
				t.Errorf("%s: taken over %v, RSET is due %v", name, got, c.ResetDue)
			}
			if tt.reply == "" {
				if got := <-after; got != tt.after {
					t.Errorf("%s: the connection ended after %v, want %v", name, got, tt.after)
				}
			}
			kept.Conn.Abort()
		})
	}
}

// interrupting is a connection that ends a context when a reply arrives. Close has no
// effect before the reply is read.
type interrupting struct {
	net.Conn
	cancel context.CancelFunc
}

func (c interrupting) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.cancel()
	}
	return n, err
}

func (interrupting) Close() error { return nil }

// A session is not taken over for a caller who has gone.
func TestTakeOverIsInterrupted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		defer server.Close()
		defer client.Close()
		ctx, cancel := context.WithCancel(t.Context())
		kept := &Conversation{Conn: wire.NewConn(interrupting{client, cancel})}
		go func() {
			hear(server)
			io.WriteString(server, "250 ok\r\n")
		}()
		c := &Conversation{Host: &policy.Host{Level: policy.Opportunistic}, Timeouts: Timeouts{Command: time.Minute}}
		if c.TakeOver(ctx, kept, true) {
			t.Error("the session was taken over")
		}
	})
}
