package delivery

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxseal/mxseal/internal/test/seed"
	"github.com/mxseal/mxseal/policy"
)

// Generated conversations: a message goes to a domain whose servers stall, lie, hang
// up, and answer late, twice or in unusual forms at any step. An oracle judges what
// the servers heard and what SendMail reports, without the table of the
// conversation.

// scenario is one message to one domain.
type scenario struct {
	seed       uint64
	hosts      []mailHost
	requireTLS bool
	recipients int
	// hurry is the Dialer's DomainTimeout; 0 means a very long one.
	hurry  time.Duration
	quirks []quirk
}

// quirk is how the server at an address departs from a good one.
type quirk struct {
	addr string
	conn int    // the number of the connection to that address; -1 for all
	step string // a verb, "greeting", "." or one of those below
	reaction
}

// The steps of a server that are not a verb.
const (
	atDial      = "dial"
	atHandshake = "handshake"
	atOffer     = "offer"      // what the reply to EHLO offers
	inGeneral   = "in general" // the form of all replies
)

// reaction is what a server does at a step.
type reaction struct {
	does  string
	code  int           // of its reply; 0 for the right one
	text  string        // of its reply
	delay time.Duration // before its reply
}

// What a server does.
const (
	answers  = "answers"
	stalling = "stalls"
	closes   = "closes"
	departs  = "closes with close_notify"
	garbles  = "garbles"
	repeats  = "answers twice"

	wrongCertificate = "wrong certificate"
	sendsAlert       = "alert"
	wantsCertificate = "wants a client certificate"
	speaksOldTLS     = "old TLS only"
	noSTARTTLS       = "no STARTTLS"
	noREQUIRETLS     = "no REQUIRETLS"
	offersPIPELINING = "PIPELINING"
	codesAlone       = "codes alone"
	severalLines     = "several lines"
	bareLF           = "bare LF"
	extraCR          = "CR CR LF"
	unusualCase      = "unusual case"
)

func (s *scenario) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d: %d recipients, RequireTLS %v, DomainTimeout %v\n", s.seed, s.recipients, s.requireTLS, s.hurry)
	for _, h := range s.hosts {
		fmt.Fprintf(&b, "  host: %v %v\n", h.level, h.addrs)
	}
	for _, q := range s.quirks {
		fmt.Fprintf(&b, "  %s, connection %d, %s: %s", q.addr, q.conn, q.step, q.does)
		if q.code != 0 || q.text != "" || q.delay != 0 {
			fmt.Fprintf(&b, " %d %q after %v", q.code, q.text, q.delay)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// at returns what a server does at a step of a connection; the last quirk counts.
func (s *scenario) at(addr string, conn int, step string) reaction {
	for _, q := range slices.Backward(s.quirks) {
		if q.addr == addr && (q.conn == conn || q.conn < 0) && q.step == step {
			return q.reaction
		}
	}
	return reaction{does: answers}
}

// has reports whether a server does this at any step of a connection.
func (s *scenario) has(addr string, conn int, does string) bool {
	return slices.ContainsFunc(s.quirks, func(q quirk) bool {
		return q.addr == addr && (q.conn == conn || q.conn < 0) && q.does == does
	})
}

// generate makes a scenario of a seed.
func generate(seed uint64) *scenario {
	r := rand.New(rand.NewPCG(seed, 0))
	chance := func(percent int) bool { return r.IntN(100) < percent }
	s := &scenario{seed: seed, requireTLS: chance(15), recipients: 1 + r.IntN(5)}
	if chance(15) {
		s.hurry = time.Duration(1+r.IntN(300)) * time.Second
	}
	uniform := chance(60)
	levels := []policy.Level{policy.Opportunistic, policy.Encrypted, policy.Authenticated}
	level := pick(r, levels)
	for h := range 1 + r.IntN(3) {
		host := mailHost{level: level}
		if !uniform {
			host.level = pick(r, levels)
		}
		if s.requireTLS {
			host.level = policy.Authenticated
		}
		for a := range 1 + r.IntN(3) {
			host.addrs = append(host.addrs, fmt.Sprintf("192.0.2.%d", 10*(h+1)+a))
		}
		s.hosts = append(s.hosts, host)
	}
	fate := "" // of all servers, in some scenarios
	if chance(10) {
		fate = pick(r, []string{"521", noSTARTTLS, wrongCertificate, sendsAlert, noREQUIRETLS})
	}
	for _, host := range s.hosts {
		for _, addr := range host.addrs {
			s.quirks = append(s.quirks, generateServer(r, addr, s.recipients, fate)...)
			if s.hurry > 0 && chance(30) {
				s.quirks = append(s.quirks, quirk{addr, -1, ".", reaction{does: answers, delay: 9 * time.Minute}})
			}
		}
	}
	return s
}

func pick[T any](r *rand.Rand, from []T) T { return from[r.IntN(len(from))] }

// generateServer makes the quirks of the server at one address.
func generateServer(r *rand.Rand, addr string, recipients int, fate string) []quirk {
	chance := func(percent int) bool { return r.IntN(100) < percent }
	var quirks []quirk
	always := func(percent int, step, does string) {
		if chance(percent) {
			quirks = append(quirks, quirk{addr, -1, step, reaction{does: does}})
		}
	}
	always(25, inGeneral, codesAlone)
	always(15, inGeneral, severalLines)
	always(15, inGeneral, bareLF)
	always(10, inGeneral, extraCR)
	always(30, inGeneral, unusualCase)
	always(40, atOffer, offersPIPELINING)
	always(12, atOffer, noSTARTTLS)
	always(25, atOffer, noREQUIRETLS)
	alert := reaction{does: sendsAlert, code: pick(r, []int{40, 42, 70, 71, 80, 112})}
	switch fate {
	case "521":
		quirks = append(quirks, quirk{addr, -1, "greeting", reaction{does: answers, code: 521}})
	case noSTARTTLS, noREQUIRETLS:
		always(100, atOffer, fate)
	case wrongCertificate:
		always(100, atHandshake, fate)
	case sendsAlert:
		quirks = append(quirks, quirk{addr, -1, atHandshake, alert})
	}
	if chance(30) {
		return quirks
	}
	recipient := fmt.Sprintf("RCPT %d", r.IntN(recipients))
	if chance(25) {
		// TLS is missing or fails, and then mail is refused for good.
		quirks = append(quirks, pick(r, []quirk{
			{addr, -1, atOffer, reaction{does: noSTARTTLS}},
			{addr, -1, "STARTTLS", reaction{does: answers, code: 454}},
			{addr, -1, atHandshake, reaction{does: closes}},
			{addr, -1, atHandshake, alert},
		}), quirk{addr, -1, pick(r, []string{"greeting", "EHLO", "MAIL", recipient, "DATA", "."}), reaction{
			does: answers, code: pick(r, []int{530, 550, 554}), text: "5.7.0 STARTTLS first",
		}})
	}
	if chance(10) {
		quirks = append(quirks, quirk{addr, -1, "EHLO", reaction{does: answers, code: pick(r, []int{421, 450, 451, 454})}})
	}
	if chance(10) {
		quirks = append(quirks, quirk{addr, -1, recipient, reaction{does: answers, code: pick(r, []int{452, 552}), text: "too many"}})
	}
	if chance(10) {
		quirks = append(quirks, quirk{addr, -1, recipient, reaction{does: repeats, code: 550}})
	}
	steps := []string{atDial, "greeting", "EHLO", "HELO", "STARTTLS", atHandshake, "MAIL", "DATA", ".", "RSET", "QUIT"}
	for i := range recipients {
		steps = append(steps, fmt.Sprintf("RCPT %d", i))
	}
	for range 1 + r.IntN(4) {
		q := quirk{addr: addr, conn: pick(r, []int{-1, -1, 0, 0, 1, 2}), step: pick(r, steps)}
		switch q.step {
		case atDial:
			q.does = pick(r, []string{closes, stalling})
		case atHandshake:
			q.does = pick(r, []string{wrongCertificate, wrongCertificate, sendsAlert, wantsCertificate, speaksOldTLS, closes, stalling, garbles})
			if q.does == sendsAlert {
				q.reaction = alert
			}
		default:
			q.reaction = generateReaction(r, q.step)
		}
		quirks = append(quirks, q)
	}
	return quirks
}

// generateReaction makes what a server does instead of the right reply.
func generateReaction(r *rand.Rand, step string) reaction {
	switch r.IntN(10) {
	case 0:
		return reaction{does: pick(r, []string{closes, departs})}
	case 1:
		return reaction{does: stalling}
	case 2:
		return reaction{does: garbles, text: pick(r, []string{"what?\r\n", "999 x\r\n", "250_ok\r\n", "2x0 ok\r\n", "\r\n\r\n", "SSH-2.0-OpenSSH\r\n"})}
	case 3:
		return reaction{does: repeats}
	case 4:
		// Late, and within the time of the step.
		late := map[string]time.Duration{"greeting": 50 * time.Second, "DATA": 100 * time.Second, ".": 9 * time.Minute, "QUIT": time.Minute}
		longest := 4 * time.Minute
		if limit, ok := late[step]; ok {
			longest = limit
		}
		return reaction{does: answers, delay: longest}
	}
	code := pick(r, []int{421, 450, 451, 452, 454, 500, 502, 521, 530, 535, 550, 552, 552, 554, 556, 220, 250, 251, 354, 299, 399, 499, 599, 200 + r.IntN(400)})
	text := pick(r, []string{"", "no", "5.2.2 mailbox full", "5.3.4 too big", "5.5.3 too many", "5.7.1 no", "4.7.1 later"})
	return reaction{does: answers, code: code, text: text}
}

// SMTP-19: TestGeneratedConversations holds 500 conversations, or as many as the
// environment variable MXSEAL_CONVERSATIONS says, and more until every outcome was seen.
// The seed is that of the first; each of the others has the next one.
func TestGeneratedConversations(t *testing.T) {
	t.Parallel()
	count, first := uint64(500), seed.New(t)
	if text := os.Getenv("MXSEAL_CONVERSATIONS"); text != "" {
		var err error
		if count, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("MXSEAL_CONVERSATIONS is %q, want a number", text)
		}
	}
	var seen tally
	broken := 0
	for seed := first; broken < 3; seed++ {
		if held := seed - first; held >= count && (count < 500 || seen.isComplete() || held >= 20*count) {
			break
		}
		s := generate(seed)
		complaints := s.hold(t, &seen)
		if len(complaints) == 0 {
			continue
		}
		broken++
		s = s.reduced(t)
		again := s.hold(t, new(tally))
		t.Errorf("MXSEAL_SEED=%d MXSEAL_CONVERSATIONS=1\n%s\nreduced:\n%s\n%s", seed, strings.Join(complaints, "\n"), s, strings.Join(again, "\n"))
	}
	t.Logf("what became of recipients: %+v", seen)
	if count >= 500 && broken == 0 && !seen.isComplete() {
		t.Errorf("the conversations do not show every outcome: %+v", seen)
	}
}

// tally counts recipients.
type tally struct{ delivered, temporary, permanent, unknown int }

// isComplete reports whether every outcome was seen.
func (t tally) isComplete() bool {
	return t.delivered > 0 && t.temporary > 0 && t.permanent > 0 && t.unknown > 0
}

// reduced leaves out what a failure does not need.
func (s *scenario) reduced(t *testing.T) *scenario {
	fails := func(s *scenario) bool { return len(s.hold(t, new(tally))) > 0 }
	for again := true; again; {
		again = false
		for i := range s.quirks {
			smaller := *s
			smaller.quirks = slices.Delete(slices.Clone(s.quirks), i, i+1)
			if fails(&smaller) {
				s, again = &smaller, true
				break
			}
		}
	}
	for s.recipients > 1 {
		smaller := *s
		smaller.recipients--
		if !fails(&smaller) {
			break
		}
		s = &smaller
	}
	return s
}

// hold has the conversations of a scenario, and returns what the oracle finds wrong.
func (s *scenario) hold(t *testing.T, seen *tally) (complaints []string) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(make(map[string][]script))
		w.silent = make(map[string]bool)
		if s.requireTLS {
			w.options = []policy.Option{policy.RequireTLS()}
		}
		o := &oracle{scenario: s}
		for _, host := range s.hosts {
			for _, addr := range host.addrs {
				switch s.at(addr, 0, atDial).does {
				case stalling:
					w.silent[addr] = true
				case closes: // nothing listens
				default:
					w.scripts[addr] = o.servers(host.level, addr)
				}
			}
		}
		var to []string
		for i := range s.recipients {
			to = append(to, fmt.Sprintf("r%d@example.org", i))
		}
		d := w.dialer()
		d.Resolver, d.MaxConnections, d.DomainTimeout = w.published(t, s.hosts...), 100, 100*time.Hour
		if s.hurry > 0 {
			d.DomainTimeout = s.hurry
		}
		d.Delivered = func(delivery Delivery) { o.reportDelivered(delivery.Recipients) }
		err := d.SendMail(t.Context(), "s@example.net", to, []byte(letter), w.options...)
		var failed *SendError
		if err != nil && !errors.As(err, &failed) {
			t.Fatalf("error %v is no *SendError", err)
		}
		if failed != nil {
			for _, each := range failed.Undelivered {
				o.reportUndelivered(each)
			}
		}
		time.Sleep(time.Hour) // until every server has noticed
		synctest.Wait()
		o.dialed, o.recorded = w.dialed, w.recorded
		complaints = o.judge(to)
		for _, verdict := range o.reported {
			switch verdict[0] {
			case "delivered":
				seen.delivered++
			case "temporary":
				seen.temporary++
			case "permanent":
				seen.permanent++
			default:
				seen.unknown++
			}
		}
	})
	return complaints
}
