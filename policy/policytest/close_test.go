package policytest_test

import (
	"bufio"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxseal/mxseal/policy/policytest"
)

// Close ends all goroutines and connections, whatever they are doing. The
// synctest bubble would not end if a goroutine were left.
func TestCloseLeavesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		inet := policytest.New(nil)
		inet.Domain("example.org").Policy("none")
		inet.Host("idle.example.org")
		inet.Host("mute.example.org", policytest.Stall(policytest.Greeting))
		inet.Host("loud.example.org", policytest.Endless(policytest.Greeting))
		inet.Host("slow.example.org", policytest.Stall(policytest.Handshake))
		for _, addr := range []string{"idle.example.org:25", "mute.example.org:25", "loud.example.org:25", "mta-sts.example.org:443"} {
			c, err := inet.Dial(t.Context(), "tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
		}
		c, err := inet.Dial(t.Context(), "tcp", "slow.example.org:25")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		io.WriteString(c, "EHLO client.example\r\n")
		waitFor(t, c, "STARTTLS")
		io.WriteString(c, "STARTTLS\r\n")
		waitFor(t, c, "go ahead")
		inet.SlowDNS(time.Hour)
		inet.Close()
		inet.Close()
	})
}

// waitFor reads lines until a line ends in end.
func waitFor(t *testing.T, c net.Conn, end string) {
	t.Helper()
	lines := bufio.NewScanner(c)
	for lines.Scan() {
		if text := lines.Text(); len(text) >= len(end) && text[len(text)-len(end):] == end {
			return
		}
	}
	t.Fatalf("no %q: %v", end, lines.Err())
}

// A program that has no dial hook can connect to the loopback address.
func TestLoopbackAddr(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	mx := inet.Host("mx.example.org")
	c, err := net.Dial("tcp", mx.LoopbackAddr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	waitFor(t, c, "220 mx.example.org ESMTP")
}
