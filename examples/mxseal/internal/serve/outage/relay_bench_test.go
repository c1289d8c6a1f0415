package outage

import (
	"fmt"
	"net/smtp"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mxseal/mxseal/internal/test/await"
	"github.com/mxseal/mxseal/internal/test/interop/daemon"
	"github.com/mxseal/mxseal/internal/test/interop/dnsserver"
	"github.com/mxseal/mxseal/internal/test/interop/mailserver"
	"github.com/mxseal/mxseal/policy/policytest"
)

// BenchmarkRelay compares a Postfix that delivers by the relay, with and without sessions that are kept, with one that
// delivers by itself with DANE: messages per second to the same domains and mail hosts, in turns. Then many messages to a domain that stalls wait in the
// same Postfix, and it is measured how long one to another domain takes.
func BenchmarkRelay(b *testing.B) {
	const domains, messages, turns, stalled = 20, 1000, 3, 100
	inet := policytest.New(b)
	port := freePort(b)
	hosts := make([]*policytest.Host, domains)
	for i := range hosts {
		name := fmt.Sprintf("d%d.example", i)
		inet.Domain(name).MX("mx." + name)
		hosts[i] = inet.Host("mx."+name, policytest.TLSA("3 1 1"), policytest.Listen(fmt.Sprintf("%s:%d", daemon.Loopback(), port)))
	}
	inet.Domain("stall.example").MX("mx.stall.example")
	inet.Host("mx.stall.example", policytest.TLSA("3 1 1"), policytest.Blackhole, policytest.Listen(fmt.Sprintf("%s:%d", daemon.Loopback(), port)))
	nameserver := daemon.Loopback()
	anchors := filepath.Join(b.TempDir(), "anchors")
	dnsserver.WriteFile(b, anchors, inet.TrustAnchors())
	dnsserver.Unbound(b, dnsserver.RecursiveConfig{Forward: inet.DNSAddr(), AnchorFile: anchors, IP: nameserver})
	alone := mailserver.StartSender(b, nameserver, int(port))
	relay := func(options string) *mailserver.Sender {
		sender := mailserver.StartRelaying(b, "socketmap:unix:mxseal/transport.sock:transport", "lmtp_data_done_timeout = 1200s")
		startDaemon(b, inet, port, sender.SocketDir(b), "[relay]\nlmtp = ['unix:DIR/relay.sock']\ntransport = ['unix:DIR/transport.sock']\nqueue-directory = '"+sender.Queue+"'\n"+options)
		return sender
	}
	relaying, keepingNone := relay(""), relay("max-uses = 1\n")

	arrived := func() (n int) {
		for _, host := range hosts {
			n += len(host.Messages())
		}
		return n
	}
	// deliver returns how long it takes until all messages have arrived.
	deliver := func(by *mailserver.Sender, messages int) time.Duration {
		before, began := arrived(), time.Now()
		var clients sync.WaitGroup
		for client := range 10 {
			clients.Go(func() {
				c, err := smtp.Dial(by.Addr)
				if err != nil {
					b.Error(err)
					return
				}
				defer c.Close()
				for i := client; i < messages; i += 10 {
					if err := submit(c, fmt.Sprintf("b%d@d%d.example", i, i%domains)); err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
		clients.Wait()
		await.Until(b, "all messages have arrived", func() bool { return arrived() == before+messages })
		return time.Since(began)
	}
	deliver(alone, domains)
	deliver(relaying, domains)
	deliver(keepingNone, domains)
	for b.Loop() {
		var byItself, byRelay, withNone time.Duration
		for range turns {
			byItself += deliver(alone, messages)
			byRelay += deliver(relaying, messages)
			withNone += deliver(keepingNone, messages)
		}
		b.ReportMetric(messages*turns/byItself.Seconds(), "postfix-mails/s")
		b.ReportMetric(messages*turns/byRelay.Seconds(), "relay-mails/s")
		b.ReportMetric(byItself.Seconds()/byRelay.Seconds(), "ratio")
		b.ReportMetric(byItself.Seconds()/withNone.Seconds(), "ratio-keeping-none")
	}
	b.StopTimer()
	c, err := smtp.Dial(relaying.Addr)
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	for i := range stalled {
		if err := submit(c, fmt.Sprintf("b%d@stall.example", i)); err != nil {
			b.Fatal(err)
		}
	}
	await.Until(b, "the mail that stalls is under way", func() bool { return strings.Count(relaying.Log(), "(queue active)") >= stalled })
	const attempts = 10
	var took time.Duration
	for i := range attempts {
		to := fmt.Sprintf("beside%d@d%d.example", i, i)
		if err := submit(c, to); err != nil {
			b.Fatal(err)
		}
		await.Until(b, to+" is sent", func() bool { return len(relaying.LogLines("to=<"+to+">", "status=sent")) == 1 })
		delay, err := strconv.ParseFloat(delays.FindStringSubmatch(relaying.LogLines("to=<" + to + ">")[0])[1], 64)
		if err != nil {
			b.Fatal(err)
		}
		took += time.Duration(delay * float64(time.Second))
	}
	b.ReportMetric(took.Seconds()/attempts, "s-beside-stalling")
	if n := len(relaying.LogLines("@stall.example>", "status=")); n > 0 {
		b.Errorf("%d messages to the stalling domain did not wait", n)
	}
}

// delays finds how long a message took, in the log of Postfix.
var delays = regexp.MustCompile(` delay=([0-9.]+),`)

// submit gives a message to a Postfix over a connection.
func submit(c *smtp.Client, to string) error {
	if err := c.Mail("a@sender.example"); err != nil {
		return err
	}
	if err := c.Rcpt(to); err != nil {
		return err
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	if _, err := w.Write([]byte("Subject: x\r\n\r\n" + strings.Repeat("text of a message\r\n", 50))); err != nil {
		return err
	}
	return w.Close()
}
