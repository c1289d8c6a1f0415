package outage

import (
	"fmt"
	"math/rand/v2"
	"net/smtp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mxseal/mxseal/internal/test/await"
	"github.com/mxseal/mxseal/internal/test/interop/mailserver"
	"github.com/mxseal/mxseal/internal/test/seed"
	"github.com/mxseal/mxseal/policy/policytest"
)

// A daemon that is killed under load loses no mail and sends none with weaker security. It sends a message twice
// only if it is killed between the reply of the mail host to the message and its own reply to Postfix. Nothing
// can prevent that: only the mail host knows that it has the message (RFC 5321 section 4.5.3.2.6), and Postfix
// logs that the message may be sent more than once.
func TestKilledUnderLoad(t *testing.T) {
	const messages, kills = 120, 5
	inet := policytest.New(t)
	identity := mailserver.NewServer(t, nil, "mx.real.example")
	behind := mailserver.StartPostfix(t, []mailserver.Entrance{{Addr: "mx", Chain: identity.File(t)}})
	port := behind.Ports["mx"]
	inet.Domain("real.example").MX("mx.real.example").Add("mx A 127.0.0.1", fmt.Sprintf("_%d._tcp.mx TLSA 3 1 1 %s", port, identity.TLSAKey()))
	// The same program without the key that the domain has published is an attacker.
	inet.Domain("attacked.example").MX("mx.attacked.example").Add("mx A 127.0.0.1", fmt.Sprintf("_%d._tcp.mx TLSA 3 1 1 %s", port, strings.Repeat("ab", 32)))

	front := mailserver.StartRelaying(t, "socketmap:unix:mxseal/transport.sock:transport",
		"minimal_backoff_time = 1s", "maximal_backoff_time = 2s", "queue_run_delay = 1s", "transport_retry_time = 1s", "lmtp_data_done_timeout = 1200s")
	dir := front.SocketDir(t)
	start := func() *process {
		return startDaemon(t, inet, uint16(port), dir, "[store]\nfile = 'DIR/state.db'\n[relay]\nlmtp = ['unix:DIR/relay.sock']\ntransport = ['unix:DIR/transport.sock']\nqueue-directory = '"+front.Queue+"'\n")
	}
	relay := start()
	sent := make(chan error, messages)
	turns := make(chan struct{}, 8)
	for i := range messages {
		go func() {
			turns <- struct{}{}
			defer func() { <-turns }()
			to := fmt.Sprintf("b%d@real.example", i)
			if i%20 == 0 {
				to = fmt.Sprintf("b%d@attacked.example", i)
			}
			sent <- smtp.SendMail(front.Addr, nil, "a@sender.example", []string{to}, []byte("Subject: "+strconv.Itoa(i)+"\r\n\r\n"))
		}()
	}
	random := rand.New(rand.NewPCG(seed.New(t), 0))
	const expected = messages - messages/20
	arrivals := func() int { return len(behind.Messages(t)) }
	for kill := range kills {
		// Somewhere in the traffic.
		until := expected*kill/kills + random.IntN(expected/kills)
		await.Until(t, fmt.Sprintf("%d messages have arrived", until), func() bool { return arrivals() >= until })
		relay.kill()
		relay = start()
	}
	for range messages {
		if err := <-sent; err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now()
	for done := 0; done < expected; {
		before := done
		await.Until(t, "Postfix sends more mail", func() bool {
			done = len(front.LogLines("@real.example>", "status=sent"))
			return done > before || done == expected
		})
	}
	t.Logf("%v after the last kill, Postfix had sent everything", time.Since(began).Round(time.Millisecond))

	// The mail host puts what it has accepted into the mailbox later.
	var copies map[string]int
	await.Until(t, "the mailbox has each message", func() bool {
		copies = map[string]int{}
		for _, text := range behind.Messages(t) {
			_, subject, _ := strings.Cut(text, "\nSubject: ")
			subject, _, _ = strings.Cut(subject, "\n")
			copies[subject]++
		}
		return len(copies) >= expected
	})
	for _, text := range behind.Messages(t) {
		if !strings.Contains(text, "(using TLSv1.3 with cipher") || !strings.Contains(text, "real.example>; ") {
			t.Errorf("sent without protection:\n%s", text)
		}
	}
	twice := 0
	for i := range messages {
		n, to := copies[strconv.Itoa(i)], fmt.Sprintf("to=<b%d@", i)
		switch doubted := len(front.LogLines(to, "message may be sent more than once")); {
		case i%20 == 0:
			if n > 0 || len(front.LogLines(to, "status=sent")) > 0 {
				t.Errorf("message %d reached an attacker", i)
			}
		case n == 0:
			t.Errorf("message %d is lost", i)
		case n > 1+doubted:
			t.Errorf("message %d arrived %d times, and Postfix knows of %d interruptions of a reply:\n%s", i, n, doubted, strings.Join(front.LogLines(to), "\n"))
		case len(front.LogLines(to, "status=sent")) != 1:
			t.Errorf("Postfix has sent message %d: %q", i, front.LogLines(to))
		default:
			twice += n - 1
		}
	}
	t.Logf("%d kills, %d messages: %d were under way at a kill after the dot, and %d of those arrived twice", kills, expected,
		len(front.LogLines("@real.example>", "message may be sent more than once")), twice)
}
