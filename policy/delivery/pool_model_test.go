package delivery

import (
	"bufio"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"net/smtp"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/internal/test/fakedns"
	"github.com/mxseal/mxseal/internal/test/seed"
	"github.com/mxseal/mxseal/policy"
)

// SMTP-37: TestPoolFollowsModel makes random sequences of mails, alone and side by side, by SendMail and
// by Sessions, while keys are rolled, records and mail hosts change, the operator asks
// for more or less, and servers restart, stall, lose TLS and confuse their replies. After
// each step a model without a table of the conversation judges what the servers have:
//
//   - every accepted message is there exactly once, and no other is;
//   - the session of each met the plan of that moment, judged from its certificate and
//     from what its server offered;
//   - every host with a better preference was tried before;
//   - a message that failed fails over a new connection as well;
//   - no bound of connections was exceeded, and each TLS session was reported at most once.
//
// It makes 40 sequences, or as many as the environment variable MXSEAL_SEQUENCES says.
func TestPoolFollowsModel(t *testing.T) {
	t.Parallel()
	count := uint64(40)
	if text := os.Getenv("MXSEAL_SEQUENCES"); text != "" {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		count = n
	}
	first := seed.New(t)
	var delivered, failed, reused int
	for s := first; s < first+count && !t.Failed(); s++ {
		synctest.Test(t, func(t *testing.T) {
			m := newModel(t, s)
			defer m.pool.Close(context.Background())
			for range 60 {
				m.step()
			}
			delivered, failed = delivered+m.delivered, failed+m.failed
			for _, h := range m.hosts {
				reused += h.reused
			}
			if t.Failed() {
				t.Logf("MXSEAL_SEED=%d MXSEAL_SEQUENCES=1\n%s", s, strings.Join(m.history, "\n"))
			}
		})
	}
	t.Logf("%d delivered, %d of them after others in a session, %d failed", delivered, reused, failed)
	if count >= 40 && (delivered == 0 || failed == 0 || reused == 0) {
		t.Error("the sequences do not show every outcome")
	}
}

const (
	modelHosts   = 3
	modelDomains = 4
)

// model is a Pool, the world around it, and what has to be true of both.
type model struct {
	*world
	t       *testing.T
	random  *rand.Rand
	names   fakedns.Answers
	floor   policy.Level
	dialer  *Dialer
	pool    *Pool
	hosts   []*modelHost
	history []string

	number            int // of the last message
	delivered, failed int
}

// modelHost is a mail host at one address.
type modelHost struct {
	name, addr string

	mu         sync.Mutex
	down       bool
	cert       tls.Certificate
	tls        string // "", "none", "garbled", "refused"
	stall      string // the verb without a reply
	once       string // the verb that is answered by 421 in sessions with a message before
	stray      bool   // a reply too many after each message
	requireTLS bool
	pipelining bool
	tickets    *tls.Config
	open       map[net.Conn]bool
	accepted   map[string]int        // messages, by number and recipient
	seen       map[string]connection // the connection of each message
	touched    int                   // connections and commands
	reused     int                   // messages after others in their sessions
}

func newModel(t *testing.T, number uint64) *model {
	m := &model{
		world: newWorld(map[string][]script{}), t: t, random: rand.New(rand.NewPCG(number, 1)),
		names: fakedns.Answers{}, floor: policy.Opportunistic,
	}
	m.open = newGauge()
	for i := range modelHosts {
		h := &modelHost{
			name: fmt.Sprintf("mx%d.example.net", i), addr: fmt.Sprintf("192.0.2.%d", i+1), cert: certificates().good,
			open: map[net.Conn]bool{}, accepted: map[string]int{}, seen: map[string]connection{}, tickets: &tls.Config{},
		}
		h.tickets.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			h.mu.Lock()
			defer h.mu.Unlock()
			cert := h.cert
			return &cert, nil
		}
		m.hosts = append(m.hosts, h)
		m.scripts[h.addr] = []script{h.serve}
		m.names.Add(t, dnssec.Secure, h.name+". A "+h.addr)
		m.names.Deny(dnssec.Secure, h.name+". AAAA", "_25._tcp."+h.name+". TLSA")
	}
	for d := range modelDomains {
		m.reroute(d)
	}
	m.dialer = m.world.dialer()
	m.dialer.MaxPerHost, m.dialer.MaxPerDomain, m.dialer.DomainTimeout = 3, 4, 100*time.Hour
	m.pool = &Pool{Dialer: m.dialer, MaxSessions: 5, MaxUses: 6, IdleTime: 40 * time.Second}
	m.decide()
	return m
}

// shortly are names whose records end soon.
type shortly struct{ fakedns.Answers }

func (s shortly) Lookup(ctx context.Context, name string, t dnssec.Type) (*dnssec.Answer, error) {
	answer, err := s.Answers.Lookup(ctx, name, t)
	if answer != nil {
		answer.Expires = time.Now().Add(10 * time.Second)
	}
	return answer, err
}

// decide makes the Resolver of what the operator asks for now.
func (m *model) decide() {
	r, err := policy.New(policy.Config{DNS: shortly{m.names}, NoMTASTS: true, Dial: m.dial, RootCAs: certificates().roots, Floor: m.floor})
	if err != nil {
		m.t.Fatal(err)
	}
	m.dialer.Resolver = r
}

// reroute gives a domain other mail hosts.
func (m *model) reroute(domain int) {
	var records []string
	for _, i := range m.random.Perm(modelHosts)[:1+m.random.IntN(modelHosts)] {
		records = append(records, fmt.Sprintf("d%d.example. MX %d %s.", domain, 10*(1+m.random.IntN(2)), m.hosts[i].name))
	}
	m.names.Add(m.t, dnssec.Secure, records...)
}

func (m *model) note(format string, args ...any) {
	m.history = append(m.history, fmt.Sprintf("%v: ", time.Now().Format("15:04:05"))+fmt.Sprintf(format, args...))
}

// step changes the world or sends mail.
func (m *model) step() {
	h := m.hosts[m.random.IntN(modelHosts)]
	change := func(what string, change func()) {
		m.note("%s: %s", h.name, what)
		h.mu.Lock()
		defer h.mu.Unlock()
		change()
	}
	certs := []tls.Certificate{certificates().good, certificates().unknown, certificates().other}
	switch n := m.random.IntN(100); {
	case n < 50:
		m.send()
	case n < 55:
		var sending sync.WaitGroup
		for range 2 + m.random.IntN(5) {
			mail := m.newMail()
			sending.Go(func() { m.deliver(mail, false) })
		}
		sending.Wait()
		m.check()
	case n < 60:
		change("another key, with its records", func() { h.cert = certs[m.random.IntN(3)] })
		m.names.Add(m.t, dnssec.Secure, "_25._tcp."+h.name+". TLSA "+tlsaOf(h.cert))
	case n < 64:
		change("another key", func() { h.cert = certs[m.random.IntN(3)] })
	case n < 68:
		m.note("%s: no records", h.name)
		m.names.Deny(dnssec.Secure, "_25._tcp."+h.name+". TLSA")
	case n < 70:
		m.note("%s: records that nobody can use", h.name)
		m.names.Add(m.t, dnssec.Secure, "_25._tcp."+h.name+". TLSA 0 0 1 ab")
	case n < 74:
		m.floor = []policy.Level{policy.Opportunistic, policy.Encrypted, policy.Authenticated}[m.random.IntN(3)]
		m.note("the floor is %v", m.floor)
		m.decide()
	case n < 78:
		domain := m.random.IntN(modelDomains)
		m.note("other mail hosts for d%d", domain)
		m.reroute(domain)
	case n < 82:
		change("restarts", func() {
			for conn := range h.open {
				conn.Close()
			}
		})
	case n < 84:
		change("down or up", func() { h.down = !h.down })
	case n < 87:
		change("TLS", func() { h.tls = []string{"", "", "none", "garbled", "refused"}[m.random.IntN(5)] })
	case n < 89:
		change("stalls or not", func() { h.stall = []string{"", "", "RSET", "MAIL", "RCPT", "DATA"}[m.random.IntN(6)] })
	case n < 91:
		change("ends sessions", func() { h.once = []string{"", "RSET", "MAIL", "DATA"}[m.random.IntN(4)] })
	case n < 93:
		change("a reply too many", func() { h.stray = !h.stray })
	case n < 95:
		change("extensions", func() {
			h.requireTLS, h.pipelining = m.random.IntN(2) == 0, m.random.IntN(2) == 0
		})
	default:
		pause := time.Duration(m.random.IntN(60)) * time.Second
		m.note("%v pass", pause)
		time.Sleep(pause)
	}
	synctest.Wait()
}

// modelMail is one message.
type modelMail struct {
	number  int
	domain  string
	options []policy.Option
	floor   policy.Level // of the options
	needs   bool         // RequireTLS
	lent    bool         // by Sessions
}

func (m *model) newMail() modelMail {
	m.number++
	mail := modelMail{number: m.number, domain: fmt.Sprintf("d%d.example", m.random.IntN(modelDomains)), lent: m.random.IntN(4) == 0}
	switch m.random.IntN(8) {
	case 0:
		mail.floor = policy.Encrypted
		mail.options = []policy.Option{policy.AtLeast(policy.Encrypted)}
	case 1:
		mail.floor = policy.Authenticated
		mail.options = []policy.Option{policy.AtLeast(policy.Authenticated)}
	case 2:
		mail.needs, mail.floor = true, policy.Authenticated
		mail.options = []policy.Option{policy.RequireTLS()}
		mail.lent = false // net/smtp has no parameter for it
	}
	return mail
}

// send sends one message alone, and judges it.
func (m *model) send() {
	mail := m.newMail()
	m.deliver(mail, true)
	m.check()
}

// text is a message with its number.
func (mail modelMail) text() []byte { return fmt.Appendf(nil, "Subject: %d\r\n\r\nx\r\n", mail.number) }

// deliver sends a message, and judges what became of it.
func (m *model) deliver(mail modelMail, alone bool) {
	before, old := m.touches(), m.plan(mail)
	stalled := map[string]bool{} // recently: such addresses come last
	for _, h := range m.hosts {
		stalled[h.name] = m.dialer.stalls.recent(netip.MustParseAddr(h.addr))
	}
	plan, host, state, unknown, err := m.transmit(mail)
	m.mu.Lock()
	m.note("message %d to %s, floor %v, RequireTLS %v, lent %v: %v", mail.number, mail.domain, mail.floor, mail.needs, mail.lent, err)
	m.mu.Unlock()
	where := ""
	total := 0
	for _, h := range m.hosts {
		h.mu.Lock()
		if n := h.accepted[strconv.Itoa(mail.number)]; n > 0 {
			where = h.name
			total += n
		}
		h.mu.Unlock()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case err == nil && (total != 1 || where != host.Name):
		m.t.Errorf("message %d was delivered at %s, and servers have it %d times, at %q", mail.number, host.Name, total, where)
		return
	case err != nil && (total > 1 || total == 1 && !unknown):
		m.t.Errorf("message %d failed, and servers have it %d times: %v", mail.number, total, err)
		return
	case err != nil:
		m.failed++
		if alone && !unknown {
			m.mu.Unlock()
			m.compare(mail, old, err)
			m.mu.Lock()
		}
		return
	}
	m.delivered++
	m.judge(mail, plan, host, state)
	if alone {
		after := m.touches()
		for _, better := range plan.Hosts {
			if better.Preference < host.Preference && better.Level != policy.Refused && after[better.Name] == before[better.Name] && !stalled[better.Name] {
				m.t.Errorf("message %d went to %s, and %s was not tried", mail.number, host.Name, better.Name)
			}
		}
	}
}

// touches are how often each host was connected to or spoken to. A host that is down
// counts dials only.
func (m *model) touches() map[string]int {
	all := map[string]int{}
	for _, h := range m.hosts {
		h.mu.Lock()
		all[h.name] = h.touched
		h.mu.Unlock()
	}
	return all
}

// transmit sends a message by SendMail or by Sessions.
func (m *model) transmit(mail modelMail) (plan *policy.Plan, host *policy.Host, state *tls.ConnectionState, unknown bool, err error) {
	if mail.lent {
		for session, err := range m.pool.Sessions(m.t.Context(), mail.domain, mail.options...) {
			if err != nil {
				return nil, nil, nil, false, err
			}
			failure := session.Failure(mail.over(session.NetConn()))
			if failure == nil {
				if s, ok := session.TLS(); ok {
					state = &s
				}
				return session.Plan, session.Host, state, false, nil
			}
			if !failure.NextHost {
				return nil, nil, nil, failure.OutcomeUnknown, failure.Err
			}
		}
		return nil, nil, nil, false, errors.New("the loop has ended")
	}
	text := mail.text()
	result, err := m.pool.Send(m.t.Context(), newMail("s@example.net", []string{"x@" + mail.domain}, text), mail.options...)
	var failed *SendError
	if errors.As(err, &failed) {
		return nil, nil, nil, failed.Undelivered[0].OutcomeUnknown, err
	}
	if err != nil || len(result.Delivered) != 1 {
		m.t.Errorf("%v, %+v", err, result)
		return nil, nil, nil, false, errors.New("no result")
	}
	d := result.Delivered[0]
	return d.Plan, d.Host, d.TLS, false, nil
}

// over sends the message by net/smtp.
func (mail modelMail) over(conn net.Conn) error {
	client, err := smtp.NewClient(conn, "x")
	if err != nil {
		return err
	}
	defer client.Close()
	if err := client.Mail("s@example.net"); err != nil {
		return err
	}
	if err := client.Rcpt("x@" + mail.domain); err != nil {
		return err
	}
	data, err := client.Data()
	if err != nil {
		return err
	}
	data.Write(mail.text())
	if err := data.Close(); err != nil {
		return err
	}
	return client.Quit()
}

// judge checks a delivery against the plan, as the names and the operator have it, and
// against what the server knows of the connection.
func (m *model) judge(mail modelMail, plan *policy.Plan, host *policy.Host, state *tls.ConnectionState) {
	complain := func(format string, args ...any) {
		m.t.Errorf("message %d at %s (%v by %v): %s", mail.number, host.Name, host.Level, host.By, fmt.Sprintf(format, args...))
	}
	if plan.Domain != mail.domain || plan.Host(host.Name) != host || host.Level == policy.Refused || time.Now().After(plan.Expires.Add(time.Hour)) {
		complain("the host is not in the plan, or the plan has expired")
	}
	i := slices.IndexFunc(m.hosts, func(h *modelHost) bool { return h.name == host.Name })
	h := m.hosts[i]
	h.mu.Lock()
	over := h.seen[strconv.Itoa(mail.number)]
	h.mu.Unlock()
	if !slices.Contains(host.Addrs, netip.MustParseAddr(over.addr)) {
		complain("the connection was to %s, which is not in the plan", over.addr)
	}
	floor := max(mail.floor, host.Level)
	if (state != nil) != (over.tls != "") || floor > policy.Opportunistic && state == nil {
		complain("TLS %q", over.tls)
	}
	if over.refusedTLS && floor > policy.Opportunistic {
		complain("the session is that of a second attempt")
	}
	if mail.needs && !over.requireTLS {
		complain("REQUIRETLS was not offered")
	}
	if floor == policy.Authenticated && state != nil {
		shown := state.PeerCertificates[0].Raw
		known := fmt.Sprintf("%x", sha256.Sum256(shown))
		switch {
		case len(host.TLSA) > 0 && fmt.Sprintf("%x", host.TLSA[0].Data) != known:
			complain("the certificate %.8s is not that of the records", known)
		case len(host.TLSA) == 0 && string(shown) != string(certificates().good.Certificate[0]):
			complain("the certificate %.8s is not that of the host", known)
		}
	}
}

// plan is the one for a message now, or nil.
func (m *model) plan(mail modelMail) *policy.Plan {
	plan, err := m.dialer.Resolver.Resolve(m.t.Context(), mail.domain, mail.options...)
	if err != nil {
		return nil
	}
	return plan
}

// compare sends a message like one that failed over a new connection, if the plan is
// still the same. The servers are.
func (m *model) compare(mail modelMail, old *policy.Plan, failure error) {
	if m.plan(mail) != old || strings.Contains(failure.Error(), "4.4.5") { // a bound
		return
	}
	fresh := m.world.dialer()
	fresh.Recorder, fresh.Resolver, fresh.DomainTimeout = nil, m.dialer.Resolver, 100*time.Hour
	if err := fresh.SendMail(m.t.Context(), "s@example.net", []string{"x@" + mail.domain}, []byte("Subject: compared\r\n\r\nx\r\n"), mail.options...); err == nil {
		m.t.Errorf("message %d failed, and the same over a new connection does not: %v", mail.number, failure)
	}
}

// check checks what must hold at any time.
func (m *model) check() {
	synctest.Wait()
	m.open.mu.Lock()
	defer m.open.mu.Unlock()
	// compare makes one connection besides those of the Pool.
	if m.open.peak > m.pool.MaxSessions+1 || m.open.hostPeak > m.dialer.MaxPerHost+1 {
		m.t.Errorf("%d connections, %d with one host", m.open.peak, m.open.hostPeak)
	}
	m.world.mu.Lock()
	defer m.world.mu.Unlock()
	connections := 0
	for _, n := range m.world.connections {
		connections += n
	}
	recorded := 0
	for _, session := range m.recorded {
		if session.ReceivingIP.IsValid() { // and not a host that was refused without a connection
			recorded++
		}
	}
	if recorded > connections {
		m.t.Errorf("%d sessions were recorded of %d connections", recorded, connections)
	}
}

// serve is the script of a connection.
func (h *modelHost) serve(s *server) {
	c := connection{addr: h.addr}
	h.mu.Lock()
	h.touched++
	down := h.down
	h.open[s.conn] = true
	raw := s.conn
	h.mu.Unlock()
	defer func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.open, raw)
	}()
	if down {
		return
	}
	async := newAsyncConn(s.conn)
	defer close(async.queue)
	s.conn = async
	s.say(greeting)
	mails, to := 0, ""
	for {
		line, ok := s.hear()
		if !ok {
			return
		}
		h.mu.Lock()
		h.touched++
		now := modelHost{tls: h.tls, stall: h.stall, once: h.once, stray: h.stray, requireTLS: h.requireTLS, pipelining: h.pipelining}
		h.mu.Unlock()
		verb, _, _ := strings.Cut(line, " ")
		switch {
		case verb == now.stall:
			io.Copy(io.Discard, s.lines)
			return
		case verb == now.once && mails > 0:
			s.say("421 4.3.2 bye\r\n")
			return
		case verb == "EHLO":
			lines := []string{"mx.example.net"}
			if c.tls == "" && now.tls != "none" {
				lines = append(lines, "STARTTLS")
			}
			if now.pipelining {
				lines = append(lines, "PIPELINING")
			}
			if c.requireTLS = now.requireTLS && c.tls != ""; now.requireTLS {
				lines = append(lines, "REQUIRETLS")
			}
			for i, l := range lines {
				s.say("250" + map[bool]string{true: " ", false: "-"}[i == len(lines)-1] + l + "\r\n")
			}
		case verb == "STARTTLS" && now.tls == "refused":
			c.refusedTLS = true
			s.say("454 4.7.0 not now\r\n")
		case verb == "STARTTLS":
			s.say("220 go ahead\r\n")
			if now.tls == "garbled" {
				s.say("500 what?\r\n")
				io.Copy(io.Discard, s.lines)
				return
			}
			secured := tls.Server(async, h.tickets)
			if secured.Handshake() != nil {
				io.Copy(io.Discard, raw)
				return
			}
			s.conn, s.lines, c.tls = secured, bufio.NewReader(secured), "yes"
		case verb == "RCPT":
			to = line
			s.say("250 2.1.5 ok\r\n")
		case verb == "DATA" && to == "":
			s.say("503 5.5.1 RCPT first\r\n")
		case verb == "DATA":
			s.say("354 go ahead\r\n")
			number := ""
			for line != "." {
				if line, ok = s.hear(); !ok {
					return
				}
				if found, is := strings.CutPrefix(line, "Subject: "); is {
					number = found
				}
			}
			h.mu.Lock()
			h.accepted[number]++
			h.seen[number] = c
			if mails > 0 {
				h.reused++
			}
			h.mu.Unlock()
			mails++
			to = ""
			s.say("250 2.0.0 taken\r\n")
			if now.stray {
				s.say("250 2.0.0 taken\r\n")
			}
		case verb == "RSET":
			to = ""
			s.say("250 2.0.0 ok\r\n")
		case verb == "QUIT":
			s.say("221 bye\r\n")
			return
		default:
			s.say("250 2.0.0 ok\r\n")
		}
	}
}
