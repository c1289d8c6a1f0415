package upstream

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// orderOf writes attempts as the last octets of the servers, with a "t" for those over
// TCP.
func orderOf(attempts []Attempt) string {
	var order []string
	for _, a := range attempts {
		text := fmt.Sprint(a.Server.Addr().As4()[3])
		if a.Stream {
			text += "t"
		}
		order = append(order, text)
	}
	return strings.Join(order, " ")
}

// D8, D13: the options of resolv.conf change the order of attempts as resolv.conf(5) says.
func TestD8OptionsOfAttempts(t *testing.T) {
	t.Parallel()
	for options, want := range map[string][]string{
		"":                  {"1 2 3 1t 2t 3t", "1 2 3 1t 2t 3t"},
		"use-vc":            {"1t 2t 3t 1t 2t 3t", "1t 2t 3t 1t 2t 3t"},
		"attempts:1":        {"1 2 3", "1 2 3"},
		"attempts:3":        {"1 2 3 1t 2t 3t 1t 2t 3t", "1 2 3 1t 2t 3t 1t 2t 3t"},
		"rotate":            {"2 3 1 2t 3t 1t", "3 1 2 3t 1t 2t", "1 2 3 1t 2t 3t"},
		"rotate attempts:1": {"2 3 1", "3 1 2", "1 2 3"},
	} {
		file := filepath.Join(t.TempDir(), "resolv.conf")
		text := "nameserver 192.0.2.1\nnameserver 192.0.2.2\nnameserver 192.0.2.3\noptions " + options + "\n"
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := New(Config{ResolvConf: file})
		if err != nil {
			t.Fatal(err)
		}
		servers, _ := c.Servers()
		for i, want := range want {
			if got := orderOf(c.Attempts(servers, time.Now())); got != want {
				t.Errorf("%q, lookup %d: %s, want %s", options, i+1, got, want)
			}
		}
	}
}

// D8: after two questions in a row that were answered over TCP only, TCP comes first for
// ten minutes. One reply over UDP ends that.
func TestD8BlockedUDP(t *testing.T) {
	t.Parallel()
	c, err := New(Config{Servers: []string{"192.0.2.1", "192.0.2.2"}})
	if err != nil {
		t.Fatal(err)
	}
	servers, _ := c.Servers()
	now := time.Now()
	udp, tcp := Attempt{Server: servers[0]}, Attempt{Server: servers[0], Stream: true, Round: 1}
	truncated := Attempt{Server: servers[0], Stream: true}
	for i, step := range []struct {
		replies []Attempt
		after   time.Duration
		want    string
	}{
		{nil, 0, "1 2 1t 2t"},
		{[]Attempt{tcp}, 0, "1 2 1t 2t"},
		{[]Attempt{udp, tcp}, 0, "1 2 1t 2t"},
		{[]Attempt{truncated, truncated, truncated}, 0, "1 2 1t 2t"},
		{[]Attempt{tcp}, 0, "1t 2 1 2t"},
		{nil, blockedTime - 1, "1t 2 1 2t"},
		{nil, blockedTime, "1 2 1t 2t"},
		{[]Attempt{tcp}, 0, "1t 2 1 2t"},
		{[]Attempt{udp}, 0, "1 2 1t 2t"},
	} {
		for _, to := range step.replies {
			to.Server.answered(to, now)
		}
		if got := orderOf(c.Attempts(servers, now.Add(step.after))); got != step.want {
			t.Errorf("step %d: %s, want %s", i, got, step.want)
		}
	}
}

// Decision "Overtaking": neither a failure nor rotation puts a plaintext server before an
// authenticated one.
func TestPlaintextDoesNotOvertake(t *testing.T) {
	t.Parallel()
	c, err := New(Config{
		Servers: []string{"tls://192.0.2.1#a.example", "127.0.0.2", "192.0.2.3", "192.0.2.4"},
		Options: Options{Attempts: 1},
	})
	if err != nil {
		t.Fatal(err)
	}
	servers, _ := c.Servers()
	now := time.Now()
	for _, failed := range []int{0, 2} {
		servers[failed].Poor("a.example.", now)
		servers[failed].Poor("b.example.", now)
	}
	if got, want := orderOf(c.Attempts(servers, now)), "2 1 4 3"; got != want {
		t.Errorf("after failures: %s, want %s", got, want)
	}
	// The order is that of one question: of two servers, too.
	pair, failed := servers[2:], servers[2]
	if got := orderOf(c.Attempts(pair, now)); got != "4 3" || pair[0] != failed {
		t.Errorf("of two: %s, then %s is first", got, pair[0])
	}
	c, err = New(Config{
		Servers: []string{"127.0.0.1", "192.0.2.2", "192.0.2.3"},
		Options: Options{Attempts: 1, Rotate: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	servers, _ = c.Servers()
	for _, want := range []string{"1 3 2", "1 2 3", "1 3 2"} {
		if got := orderOf(c.Attempts(servers, now)); got != want {
			t.Errorf("rotated: %s, want %s", got, want)
		}
	}
}

// A question remembers how each server was asked last, and whether it may do better in
// another way.
func TestTried(t *testing.T) {
	t.Parallel()
	a, b := localServer(), newServer(netip.MustParseAddrPort("192.0.2.1:53"), "")
	var tried Tried
	if tried.names(a) || tried.overUDP(a) || tried.worthAgain(a) || tried.has(Attempt{Server: a}) {
		t.Error("nothing was tried")
	}
	tried = tried.With(Attempt{Server: a}, true)
	if !tried.names(a) || !tried.overUDP(a) || !tried.worthAgain(a) || !tried.has(Attempt{Server: a}) || tried.has(Attempt{Server: a, Round: 1}) {
		t.Errorf("%q: a was asked over UDP, and may do better", tried)
	}
	if tried.names(b) || tried.overUDP(b) || tried.worthAgain(b) {
		t.Errorf("%q: b was not asked", tried)
	}
	tried = tried.With(Attempt{Server: b}, false).With(Attempt{Server: a, Round: 1, Stream: true}, false)
	if tried.overUDP(a) || tried.worthAgain(a) || !tried.has(Attempt{Server: a}) || !tried.has(Attempt{Server: a, Round: 1}) {
		t.Errorf("%q: a was asked over TCP", tried)
	}
	if !tried.overUDP(b) || tried.worthAgain(b) {
		t.Errorf("%q: b was asked over UDP, and does no better", tried)
	}
}
