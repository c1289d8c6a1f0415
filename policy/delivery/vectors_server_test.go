package delivery

import (
	"bufio"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/internal/test/fakedns"
	"github.com/mxseal/mxseal/mtasts"
	"github.com/mxseal/mxseal/policy"
)

// The servers and the names of the test vectors.

// serverVector is what is special about a mail server.
type serverVector struct {
	Offers      []string `json:"offers"`
	OffersInTLS []string `json:"offers_in_tls"`
	Certificate string   `json:"certificate"`
	// At has what the server does at a step in place of the usual. After " again", it is for the
	// connections after the first.
	At map[string]string `json:"at,omitempty"`
}

// heardVector is a connection, as the server heard it.
type heardVector struct {
	Host  string   `json:"host"`
	Lines []string `json:"lines"`
}

// vectorServer is one connection to a server.
type vectorServer struct {
	*server
	serverVector
	heard *heardVector
	mu    *sync.Mutex
	inTLS string // what follows the name of a step
	again bool   // it is not the first connection
}

// certificateOf returns the certificate of a kind.
func certificateOf(kind string) tls.Certificate {
	c := certificates()
	return map[string]tls.Certificate{"good": c.good, "other name": c.other, "untrusted": c.unknown, "expired": c.expired}[kind]
}

// next hears a command.
func (v *vectorServer) next() (verb, line string, ok bool) {
	line, ok = v.hear()
	if ok {
		v.hears(line)
	}
	verb, _, _ = strings.Cut(line, " ")
	return verb, line, ok
}

func (v *vectorServer) hears(line string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.heard.Lines = append(v.heard.Lines, line)
}

// at returns what the server does at a step, and "" for the usual.
func (v *vectorServer) at(step string) string {
	if special, ok := v.At[step+" again"]; ok && v.again {
		return special
	}
	return v.At[step]
}

// react does what is said for a step, or else says the usual. It returns the reply code, 0 for
// none, and whether the connection goes on.
func (v *vectorServer) react(step, usual string) (code int, ok bool) {
	text := usual
	switch special := v.at(step); special {
	case "":
	case "closes":
		return 0, false
	case "stalls":
		io.Copy(io.Discard, v.lines)
		return 0, false
	case "garbles":
		v.say("what?\r\n")
		io.Copy(io.Discard, v.lines)
		return 0, false
	default:
		text = special
	}
	v.say(strings.ReplaceAll(text, "\n", "\r\n") + "\r\n")
	fmt.Sscan(text, &code)
	return code, code != 421
}

func (v *vectorServer) serve() {
	if _, ok := v.react("greeting", "220 mx.example.net ESMTP"); !ok {
		return
	}
	for {
		verb, line, ok := v.next()
		if !ok {
			return
		}
		switch verb {
		case "EHLO":
			_, ok = v.react("EHLO"+v.inTLS, v.hello())
		case "HELO":
			_, ok = v.react("HELO"+v.inTLS, "250 mx.example.net")
		case "STARTTLS":
			ok = v.startTLS()
		case "RCPT":
			step := "RCPT"
			if _, own := v.At[line]; own {
				step = line
			}
			_, ok = v.react(step, "250 2.1.5 ok")
		case "DATA":
			ok = v.data()
		case "QUIT":
			v.say("221 bye\r\n")
			return
		default: // MAIL, RSET
			_, ok = v.react(verb, "250 2.0.0 ok")
		}
		if !ok {
			return
		}
	}
}

// hello returns the reply to EHLO.
func (v *vectorServer) hello() string {
	offers := v.Offers
	if v.inTLS != "" {
		offers = v.OffersInTLS
	}
	lines := append([]string{"mx.example.net"}, offers...)
	for i := range lines {
		lines[i] = map[bool]string{true: "250 ", false: "250-"}[i == len(lines)-1] + lines[i]
	}
	return strings.Join(lines, "\n")
}

func (v *vectorServer) startTLS() bool {
	if code, ok := v.react("STARTTLS", "220 go ahead"); code != 220 {
		return ok
	}
	config := &tls.Config{Certificates: []tls.Certificate{certificateOf(v.Certificate)}, SessionTicketsDisabled: true}
	var alert byte
	switch special := v.at("handshake"); special {
	case "closes":
		v.conn.Read(make([]byte, 16<<10))
		return false
	case "stalls":
		io.Copy(io.Discard, v.conn)
		return false
	case "garbles":
		v.conn.Read(make([]byte, 16<<10))
		v.say("500 what?\r\n")
		return false
	case "old TLS":
		config.MinVersion, config.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	default:
		if n, _ := fmt.Sscanf(special, "alert %d", &alert); n == 1 {
			v.conn.Read(make([]byte, 16<<10))
			v.say(string([]byte{21, 3, 3, 0, 2, 2, alert}))
			return false
		}
	}
	conn := tls.Server(v.conn, config)
	if conn.Handshake() != nil {
		io.Copy(io.Discard, v.conn)
		return false
	}
	v.hears("TLS")
	v.conn, v.lines, v.inTLS = conn, bufio.NewReader(conn), " in TLS"
	return true
}

func (v *vectorServer) data() bool {
	code, ok := v.react("DATA", "354 go ahead")
	if code/100 != 3 {
		return ok
	}
	for {
		line, ok := v.hear()
		if !ok {
			return false
		}
		if line == "." {
			break
		}
	}
	v.hears(".")
	_, ok = v.react(".", "250 2.0.0 taken")
	return ok
}

// vectorWorld has what the servers of a case have heard.
type vectorWorld struct {
	*world
	mu    sync.Mutex
	heard []*heardVector
}

// script returns what a server does with each connection.
func (w *vectorWorld) script(host string, of serverVector) script {
	return func(s *server) {
		heard := &heardVector{Host: host, Lines: []string{}}
		w.mu.Lock()
		again := slices.ContainsFunc(w.heard, func(h *heardVector) bool { return h.Host == host })
		w.heard = append(w.heard, heard)
		w.mu.Unlock()
		(&vectorServer{server: s, serverVector: of, heard: heard, mu: &w.mu, again: again}).serve()
	}
}

// newVectorWorld returns the servers of a case, and the Resolver for its domain.
func newVectorWorld(t *testing.T, input conversationInput) (*vectorWorld, *policy.Resolver) {
	t.Helper()
	w := &vectorWorld{world: newWorld(make(map[string][]script))}
	w.silent = make(map[string]bool)
	names := fakedns.Answers{}
	var exchanges []string
	for i, h := range input.Hosts {
		addr, tlsa := fmt.Sprintf("192.0.2.%d", i+1), "_25._tcp."+h.Name+". TLSA"
		exchanges = append(exchanges, fmt.Sprintf("example.org. MX %d %s.", 10*(i+1), h.Name))
		names.Add(t, dnssec.Secure, h.Name+". A "+addr)
		names.Deny(dnssec.Secure, h.Name+". AAAA", tlsa)
		switch h.TLSA {
		case "":
		case "fails":
			names[tlsa] = nil
		case "unusable":
			names.Add(t, dnssec.Secure, tlsa+" 0 0 1 ab")
		default:
			names.Add(t, dnssec.Secure, fmt.Sprintf("%s 3 0 1 %x", tlsa, sha256.Sum256(certificateOf(h.TLSA).Certificate[0])))
		}
		switch h.Server.At["connection"] {
		case "refuses":
		case "stalls":
			w.silent[addr] = true
		default:
			w.scripts[addr] = []script{w.script(h.Name, h.Server)}
		}
	}
	names.Add(t, dnssec.Secure, exchanges...)
	names.Add(t, dnssec.Secure, `_mta-sts.example.org. TXT "v=STSv1; id=1"`)
	config := policy.Config{DNS: names, Dial: w.dial, RootCAs: certificates().roots, NoMTASTS: input.MTASTS == ""}
	if input.MTASTS != "" {
		config.Store = policyStore(input.MTASTS)
	}
	for _, level := range []policy.Level{policy.Encrypted, policy.Authenticated} {
		if input.Floor == strings.ToLower(level.String()) {
			config.Floor = level
		}
	}
	resolver, err := policy.New(config)
	if err != nil {
		t.Fatal(err)
	}
	return w, resolver
}

// policyStore remembers an MTA-STS policy of this mode for example.org.
type policyStore mtasts.Mode

func (s policyStore) Get(_ context.Context, domain string) (mtasts.Entry, error) {
	if domain != "example.org" {
		return mtasts.Entry{}, mtasts.ErrNotStored
	}
	now := time.Now()
	return mtasts.Entry{
		Domain: domain, ID: "1", Text: "version: STSv1\nmode: " + string(s) + "\nmx: *.example.net\nmax_age: 604800\n", Used: true,
		Fetched: now.Add(-time.Hour), Expires: now.Add(100 * time.Hour), NextCheck: now.Add(99 * time.Hour),
	}, nil
}

func (policyStore) Put(context.Context, mtasts.Entry) error { return nil }
func (policyStore) Delete(context.Context, string) error    { return nil }
func (policyStore) All(context.Context) iter.Seq2[mtasts.Entry, error] {
	return func(func(mtasts.Entry, error) bool) {}
}

// heardAll returns the connections in their order.
func (w *vectorWorld) heardAll() []heardVector {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := []heardVector{}
	for _, h := range w.heard {
		all = append(all, heardVector{h.Host, slices.Clone(h.Lines)})
	}
	return all
}
