package delivery

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/mxseal/mxseal/policy"
)

// connection is what a generated server has to say of one connection.
type connection struct {
	addr  string
	level policy.Level
	n     int // connections to this address before
	// tls is "" in cleartext, "good", or "wrong" with the wrong certificate.
	tls string
	// refusedTLS means that STARTTLS was offered and not answered by 220.
	refusedTLS bool
	// requireTLS means that REQUIRETLS was offered inside TLS.
	requireTLS bool
	exchanges  []exchange
	// confused means that replies to commands that were sent together cannot be told
	// apart: a step was answered twice, or RSET was not answered as it should be.
	confused bool
	// fault is the first thing that may make a client leave.
	fault string
	// lacks is what makes a failure under RequireTLS permanent (RFC 8689 section
	// 4.2.1).
	lacks string
}

// exchange is a command, or the greeting, and the reply to it.
type exchange struct {
	verb string // with the number of the recipient for RCPT
	line string
	code int // 0 without a proper reply
	text string
	tls  string
	// accepted are the recipients of the transaction, and at "." those of the message.
	accepted []string
	// seen means that the client has read the reply.
	seen bool
}

// generated is one connection of a generated server.
type generated struct {
	*server
	*connection
	oracle   *oracle
	accepted []string
}

// servers returns the script of an address, which counts its connections.
func (o *oracle) servers(level policy.Level, addr string) []script {
	n := 0
	return []script{func(s *server) {
		o.mu.Lock()
		c := &connection{addr: addr, level: level, n: n}
		n++
		o.connections = append(o.connections, c)
		o.mu.Unlock()
		g := &generated{server: s, connection: c, oracle: o}
		g.serve()
	}}
}

func (g *generated) at(step string) reaction {
	return g.oracle.scenario.at(g.connection.addr, g.n, step)
}
func (g *generated) has(does string) bool { return g.oracle.scenario.has(g.connection.addr, g.n, does) }

// blame notes the first fault.
func (g *generated) blame(format string, args ...any) {
	g.oracle.mu.Lock()
	defer g.oracle.mu.Unlock()
	if g.connection.fault == "" {
		g.connection.fault = fmt.Sprintf(format, args...)
	}
}

// react answers a command, and reports whether the connection goes on. right are
// the lines of the right reply.
func (g *generated) react(verb, line string, code int, right ...string) (exchange, bool) {
	step := verb
	if strings.HasPrefix(verb, "RCPT ") {
		right = []string{"ok"}
	}
	r := g.at(step)
	if step == "RSET" && r != (reaction{}) {
		g.confused = g.has(offersPIPELINING)
	}
	x := exchange{verb: verb, line: line, tls: g.tls, accepted: slices.Clone(g.accepted)}
	time.Sleep(r.delay)
	switch r.does {
	case closes, departs:
		g.blame("%s: %s", step, r.does)
		if conn, ok := g.conn.(*tls.Conn); ok && r.does == departs {
			conn.CloseWrite()
		}
		return g.keep(x), false
	case stalling:
		g.blame("%s: stalls", step)
		g.keep(x)
		io.Copy(io.Discard, g.lines)
		return x, false
	case garbles:
		g.blame("%s: garbage", step)
		g.say(r.text)
		io.Copy(io.Discard, g.lines)
		return g.keep(x), false
	}
	x.code = code
	if r.code != 0 {
		x.code, x.text = r.code, r.text
		right = []string{r.text}
		if g.has(codesAlone) && !g.has(severalLines) {
			x.text = "" // nobody gets it
		}
	}
	if x.code < 400 && (x.code/100 == 3) != (verb == "DATA") && g.has(offersPIPELINING) {
		// A reply of success that belongs to another kind of command: it may be that
		// of the next one.
		g.confused = true
	}
	if x.code/100 != code/100 || code == 220 && verb == "STARTTLS" && x.code != 220 {
		g.blame("%s: %d %s", step, x.code, x.text)
	}
	text := g.reply(x.code, right)
	if r.does == repeats {
		g.blame("%s: answers twice", step)
		g.confused = g.has(offersPIPELINING)
		text += text
	}
	_, err := io.WriteString(g.conn, text)
	x.seen = err == nil
	return g.keep(x), err == nil && x.code != 421
}

// keep records an exchange.
func (g *generated) keep(x exchange) exchange {
	g.oracle.mu.Lock()
	defer g.oracle.mu.Unlock()
	g.exchanges = append(g.exchanges, x)
	return x
}

// reply writes a reply in the server's form.
func (g *generated) reply(code int, lines []string) string {
	if g.has(severalLines) && len(lines) == 1 {
		lines = append([]string{lines[0]}, "and more", lines[0])
	}
	end := "\r\n"
	switch {
	case g.has(bareLF):
		end = "\n"
	case g.has(extraCR):
		end = "\r\r\n"
	}
	var b strings.Builder
	for i, line := range lines {
		last := i == len(lines)-1
		switch {
		case !last:
			fmt.Fprintf(&b, "%d-%s%s", code, line, end)
		case len(lines) == 1 && (g.has(codesAlone) || line == ""):
			fmt.Fprintf(&b, "%d%s", code, end)
		default:
			fmt.Fprintf(&b, "%d %s%s", code, line, end)
		}
	}
	return b.String()
}

func (g *generated) serve() {
	if _, ok := g.react("greeting", "", 220, "mx.example.net ESMTP"); !ok {
		return
	}
	for {
		line, ok := g.hear()
		if !ok {
			return
		}
		verb, _, _ := strings.Cut(line, " ")
		switch strings.ToUpper(verb) {
		case "EHLO":
			ok = g.hello(line)
		case "STARTTLS":
			ok = g.startTLS(line)
		case "MAIL":
			g.accepted = nil
			_, ok = g.react("MAIL", line, 250, "ok")
		case "RCPT":
			ok = g.recipient(line)
		case "DATA":
			ok = g.data(line)
		case "RSET":
			g.accepted = nil
			_, ok = g.react("RSET", line, 250, "ok")
		case "QUIT":
			g.react("QUIT", line, 221, "bye")
			ok = false
		default: // HELO
			_, ok = g.react(verb, line, 250, "ok")
		}
		if !ok {
			return
		}
	}
}

// hello answers EHLO with what the server offers.
func (g *generated) hello(line string) bool {
	lines := []string{"mx.example.net", "SIZE 10000000", "8BITMIME", "DSN"}
	lacks := ""
	if g.has(offersPIPELINING) {
		lines = append(lines, "PIPELINING")
	}
	switch {
	case g.tls == "" && !g.has(noSTARTTLS):
		lines = append(lines, "STARTTLS")
	case g.tls == "" && g.level > policy.Opportunistic:
		lacks = "STARTTLS"
	case g.tls != "" && !g.has(noREQUIRETLS):
		lines = append(lines, "REQUIRETLS")
	case g.tls != "" && g.oracle.scenario.requireTLS:
		lacks = "REQUIRETLS"
	}
	if g.has(unusualCase) {
		for i := range lines {
			lines[i] = mixed(lines[i])
		}
	}
	replaced := g.at("EHLO").code != 0
	if lacks != "" {
		g.blame("no %s", lacks)
	}
	x, ok := g.react("EHLO", line, 250, lines...)
	if x.code/100 == 2 && x.seen {
		if replaced { // by a reply without extensions
			lacks = "STARTTLS"
			g.blame("no extensions")
		}
		g.lacks, g.requireTLS = lacks, g.tls != "" && lacks == "" && !replaced
	}
	return ok
}

// mixed changes the case of every other letter.
func mixed(s string) string {
	b := []byte(strings.ToLower(s))
	for i := 0; i < len(b); i += 2 {
		b[i] = strings.ToUpper(string(b[i]))[0]
	}
	return string(b)
}

func (g *generated) startTLS(line string) bool {
	x, ok := g.react("STARTTLS", line, 220, "go ahead")
	if x.code != 220 {
		g.refusedTLS = true
		if x.code/100 == 5 {
			g.lacks = "a STARTTLS that works"
		}
		return ok
	}
	r := g.at(atHandshake)
	config := &tls.Config{Certificates: []tls.Certificate{certificates().good}, SessionTicketsDisabled: true}
	outcome := "good"
	switch r.does {
	case closes:
		g.blame("closes in the handshake")
		g.conn.Read(make([]byte, 5))
		return false
	case stalling:
		g.blame("stalls in the handshake")
		io.Copy(io.Discard, g.conn)
		return false
	case garbles:
		g.blame("no TLS in the handshake")
		g.conn.Read(make([]byte, 16<<10))
		g.say("500 what?\r\n")
		return false
	case sendsAlert:
		g.blame("alert %d", r.code)
		if r.code == 40 || r.code == 70 || r.code == 71 {
			g.lacks = "a TLS that suits"
		}
		g.conn.Read(make([]byte, 16<<10))
		g.say(string([]byte{21, 3, 3, 0, 2, 2, byte(r.code)}))
		return false
	case wrongCertificate:
		outcome = "wrong"
		config.Certificates = []tls.Certificate{certificates().unknown}
		if g.level == policy.Authenticated {
			g.blame("wrong certificate")
			g.lacks = "the right certificate"
		}
	case wantsCertificate:
		g.blame("wants a client certificate")
		config.ClientAuth = tls.RequireAnyClientCert
	case speaksOldTLS:
		g.blame("old TLS")
		config.MaxVersion, config.MinVersion = tls.VersionTLS11, tls.VersionTLS10
		if g.level > policy.Opportunistic {
			g.lacks = "a TLS that suits"
		}
	}
	if !ok {
		return false
	}
	raw := g.conn
	if r.does == wantsCertificate {
		// The alert comes after the client's handshake, while the client speaks.
		async := newAsyncConn(g.conn)
		defer close(async.queue)
		raw = async
	}
	conn := tls.Server(raw, config)
	if err := conn.Handshake(); err != nil {
		g.blame("handshake: %v", err)
		io.Copy(io.Discard, g.conn)
		return false
	}
	g.conn, g.lines, g.tls = conn, bufio.NewReader(conn), outcome
	return true
}

func (g *generated) recipient(line string) bool {
	address := strings.TrimPrefix(line, "RCPT TO:<")
	address, _, _ = strings.Cut(address, ">")
	number, _, _ := strings.Cut(strings.TrimPrefix(address, "r"), "@")
	x, ok := g.react("RCPT "+number, line, 250, "ok")
	if x.code/100 == 2 {
		g.accepted = append(g.accepted, address)
	}
	return ok
}

// data hears the message, if the server lets the client begin.
func (g *generated) data(line string) bool {
	code := 354
	if len(g.accepted) == 0 {
		code = 554
	}
	x, ok := g.react("DATA", line, code, "5.5.1 go ahead")
	if !ok || x.code/100 != 3 {
		return ok
	}
	for begun := false; ; begun = true {
		content, ok := g.hear()
		if !ok {
			if begun {
				g.keep(exchange{verb: "part of a message", tls: g.tls, accepted: slices.Clone(g.accepted)})
			}
			return false
		}
		if content == "." {
			break
		}
	}
	_, ok = g.react(".", ".", 250, "2.0.0 Ok: queued as 4B1")
	g.accepted = nil
	return ok
}
