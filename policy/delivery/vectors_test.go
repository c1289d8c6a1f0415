package delivery

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxseal/mxseal/internal/test/vectorfile"
	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/tlsrpt"
)

// conversationInput and conversationResult are a case of testdata/conversations.json, which
// docs/vectors.md explains.
type conversationInput struct {
	What    string        `json:"what"`
	MTASTS  string        `json:"mta_sts,omitempty"` // the mode
	Floor   string        `json:"floor,omitempty"`
	Hosts   []hostVector  `json:"hosts"`
	Message messageVector `json:"message"`
}

type hostVector struct {
	Name   string       `json:"name"`
	TLSA   string       `json:"tlsa,omitempty"`
	Server serverVector `json:"server"`
}

type messageVector struct {
	From        string   `json:"from"`
	To          []string `json:"to"`
	Text        string   `json:"text"`
	RequireTLS  bool     `json:"require_tls,omitempty"`
	TLSOptional bool     `json:"tls_optional,omitempty"`
	Return      string   `json:"ret,omitempty"`
	EnvelopeID  string   `json:"envid,omitempty"`
	Notify      string   `json:"notify,omitempty"`
}

type conversationResult struct {
	Plan     []planVector      `json:"plan"`
	Heard    []heardVector     `json:"heard"`
	Outcomes map[string]string `json:"outcomes"`
	Reports  []reportVector    `json:"reports"`
}

type planVector struct {
	Host     string   `json:"host"`
	Level    string   `json:"level"`
	Requires []string `json:"requires"`
}

type reportVector struct {
	Host    string            `json:"host"`
	Policy  tlsrpt.PolicyType `json:"policy"`
	Failure tlsrpt.ResultType `json:"failure,omitempty"`
}

var (
	returns  = map[string]Return{"FULL": ReturnFull, "HDRS": ReturnHeaders}
	notifies = map[string]Notify{"NEVER": NotifyNever, "SUCCESS": NotifySuccess, "FAILURE": NotifyFailure, "DELAY": NotifyDelay}
)

// converse sends the message of a case, and returns what became of it.
func converse(t *testing.T, input conversationInput) (r conversationResult) {
	r.Outcomes, r.Reports = make(map[string]string), []reportVector{}
	synctest.Test(t, func(t *testing.T) {
		defer time.Sleep(time.Hour) // until the servers have given up
		w, resolver := newVectorWorld(t, input)
		defer resolver.Close()
		var options []policy.Option
		if input.Message.RequireTLS {
			options = append(options, policy.RequireTLS())
		}
		mail := mailOf(input.Message.Text, input.Message.To...)
		mail.From, mail.Return, mail.EnvelopeID = input.Message.From, returns[input.Message.Return], input.Message.EnvelopeID
		for i := range mail.To {
			mail.To[i].Notify = notifies[input.Message.Notify]
		}
		d := w.dialer()
		d.Resolver = resolver
		result, err := d.Send(t.Context(), mail, options...)
		for _, delivered := range result.Delivered {
			for _, to := range delivered.Recipients {
				r.Outcomes[to] = "delivered by " + delivered.Host.Name
			}
		}
		var failed *SendError
		if err != nil && !errors.As(err, &failed) {
			t.Fatalf("error %v is no *SendError", err)
		}
		if failed != nil {
			for _, u := range failed.Undelivered {
				outcome := "temporary"
				switch {
				case u.OutcomeUnknown:
					outcome = "unknown"
				case u.Err.Permanent:
					outcome = "permanent"
				}
				for _, to := range u.Recipients {
					r.Outcomes[to] = outcome
				}
			}
		}
		if input.Message.TLSOptional {
			options = append(options, policy.TLSOptional())
		}
		plan, err := resolver.Resolve(t.Context(), "example.org", options...)
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range plan.Hosts {
			p := planVector{Host: h.Name, Level: strings.ToLower(h.Level.String()), Requires: []string{}}
			if len(h.TLSA) > 0 {
				p.Requires = append(p.Requires, "dane")
			}
			if len(h.WebPKINames()) > 0 {
				p.Requires = append(p.Requires, "web-pki")
			}
			r.Plan = append(r.Plan, p)
		}
		for _, session := range w.recorded {
			for _, outcome := range session.Outcomes {
				report := reportVector{Host: session.MXHost, Policy: outcome.Policy.Type}
				if len(outcome.Failures) > 0 {
					report.Failure = outcome.Failures[0].Type
				}
				r.Reports = append(r.Reports, report)
			}
		}
		synctest.Wait()
		r.Heard = w.heardAll()
	})
	return r
}

// protection is what a domain and a message require.
type protection struct {
	name, tlsa, mtasts, floor string
	requireTLS, optional      bool
}

var protections = []protection{
	{name: "no policy"}, {name: "DANE", tlsa: "good"}, {name: "unusable TLSA records", tlsa: "unusable"}, {name: "MTA-STS", mtasts: "enforce"}, {name: "MTA-STS in testing mode", mtasts: "testing"},
	{name: "at least encrypted", floor: "encrypted"}, {name: "at least authenticated", floor: "authenticated"}, {name: "DANE and MTA-STS", tlsa: "good", mtasts: "enforce"},
	{name: "DANE, REQUIRETLS", tlsa: "good", requireTLS: true}, {name: "MTA-STS, REQUIRETLS", mtasts: "enforce", requireTLS: true}, {name: "DANE and TLS-Required of No", tlsa: "good", optional: true},
}

// on returns a case with servers, whose names are mx, mx1 and so on.
func (p protection) on(what string, servers ...serverVector) conversationInput {
	input := conversationInput{
		What: p.name + ": " + what, MTASTS: p.mtasts, Floor: p.floor,
		Message: messageVector{From: "s@example.net", To: []string{"x@example.org"}, Text: "From: s@example.net\r\nSubject: x\r\n\r\nHello\r\n", RequireTLS: p.requireTLS, TLSOptional: p.optional},
	}
	if p.optional {
		input.Message.Text = "TLS-Required: No\r\n" + input.Message.Text
	}
	for i, s := range servers {
		name := "mx.example.net"
		if i > 0 {
			name = fmt.Sprintf("mx%d.example.net", i)
		}
		input.Hosts = append(input.Hosts, hostVector{name, p.tlsa, s})
	}
	return input
}

// goodServer has all that a message may require.
func goodServer() serverVector {
	return serverVector{Offers: []string{"STARTTLS", "8BITMIME"}, OffersInTLS: []string{"8BITMIME", "REQUIRETLS"}, Certificate: "good"}
}

// that returns a good server with reactions at steps: step, reaction, step, reaction.
func that(reactions ...string) serverVector {
	s := goodServer()
	s.At = make(map[string]string)
	for pair := range slices.Chunk(reactions, 2) {
		s.At[pair[0]] = pair[1]
	}
	return s
}

// beforeMail are servers by what is special about them until the session is verified.
func beforeMail() map[string]serverVector {
	servers := map[string]serverVector{"all is well": goodServer(), "EHLO is 500, HELO is 450": that("EHLO", "500 what?", "HELO", "450 later"), "EHLO is 502, HELO is 550": that("EHLO", "502 what?", "HELO", "550 no")}
	for step, reactions := range map[string][]string{
		"connection":  {"refuses", "stalls"},
		"greeting":    {"220-mx.example.net\n220 ESMTP", "220", "354 what", "421 busy", "450 later", "521 no mail here", "554 no", "closes", "stalls", "garbles"},
		"EHLO":        {"250 mx.example.net", "354 what", "421 busy", "450 later", "500 what?", "550 no", "closes", "stalls", "garbles"},
		"STARTTLS":    {"220", "250 ok", "421 busy", "454 later", "501 no", "554 no", "closes", "stalls", "garbles"},
		"handshake":   {"alert 40", "alert 42", "alert 70", "alert 71", "alert 80", "old TLS", "closes", "stalls", "garbles"},
		"EHLO in TLS": {"250 mx.example.net", "354 what", "421 busy", "450 later", "500 what?", "550 no", "closes", "stalls", "garbles"},
	} {
		for _, reaction := range reactions {
			servers[step+": "+reaction] = that(step, reaction)
		}
	}
	for _, failure := range [][2]string{{"handshake", "alert 80"}, {"STARTTLS", "closes"}, {"EHLO in TLS", "closes"}} {
		for _, later := range [][2]string{
			{"greeting", "421 busy"}, {"greeting", "521 no mail here"}, {"greeting", "closes"}, {"EHLO", "450 later"}, {"EHLO", "500 what?"}, {"handshake", "old TLS"}, {"STARTTLS", "454 later"}, {"EHLO in TLS", "250 mx"},
		} {
			servers[fmt.Sprintf("%s: %s; then %s: %s", failure[0], failure[1], later[0], later[1])] = that(failure[0], failure[1], later[0]+" again", later[1])
		}
	}
	for _, kind := range []string{"other name", "untrusted", "expired"} {
		s := goodServer()
		s.Certificate = kind
		servers["certificate: "+kind] = s
	}
	s := goodServer()
	s.Offers = []string{"8BITMIME"}
	servers["no STARTTLS"] = s
	s.Offers = []string{"8BITMIME", "REQUIRETLS"}
	servers["REQUIRETLS in cleartext, no STARTTLS"] = s
	s = goodServer()
	s.OffersInTLS = []string{"8BITMIME"}
	servers["no REQUIRETLS"] = s
	s = goodServer()
	s.Offers = []string{"starttls", "8BitMime"}
	servers["keywords in lower case"] = s
	return servers
}

// inMail are reactions to the commands of a transaction.
var inMail = map[string][]string{
	"MAIL": {"354 what", "421 busy", "450 later", "503 no", "530 STARTTLS first", "550 no", "closes", "stalls", "garbles"},
	"RCPT": {"251 forwarded", "354 what", "421 busy", "450 later", "452 too many", "530 STARTTLS first", "550 no", "552 full", "closes", "stalls", "garbles"},
	"DATA": {"250 what", "421 busy", "451 later", "530 STARTTLS first", "554 no", "closes", "stalls", "garbles"},
	".":    {"250", "354 what", "421 busy", "451 later", "530 STARTTLS first", "552 too big", "554 no", "closes", "stalls", "garbles"},
}

// conversationInputs are all that happens before mail under every protection, alone and before a
// good host; all that happens in a transaction, with TLS and without; several recipients;
// and what messages need of what servers offer.
func conversationInputs() (inputs []conversationInput) {
	before := beforeMail()
	names := slices.Sorted(maps.Keys(before))
	for i, p := range protections {
		for j, name := range names {
			if strings.Contains(name, "; then") { // another connection, which only mail without a policy gets
				if i < 2 {
					inputs = append(inputs, p.on(name, before[name]))
				}
				continue
			}
			inputs = append(inputs, p.on(name, before[name]))
			// Before a good host, and before others: not for all, since there are many.
			if (i+j)%5 == 0 || i == 0 {
				inputs = append(inputs, p.on(name+"; then a good host", before[name], goodServer()))
			}
			if (i+j)%11 == 0 || p.requireTLS && (i+j)%3 == 0 || strings.HasPrefix(name, "greeting: 521") {
				other := names[(i+7*j)%len(names)]
				inputs = append(inputs, p.on(name+"; twice", before[name], before[name]), p.on(name+"; then "+other, before[name], before[other]))
			}
		}
	}
	transports := map[string]func(step, reaction string) serverVector{
		"in TLS": func(step, reaction string) serverVector { return that(step, reaction) },
		"in cleartext": func(step, reaction string) serverVector {
			s := that(step, reaction)
			s.Offers = []string{}
			return s
		},
		"after 454":                func(step, reaction string) serverVector { return that("STARTTLS", "454 later", step, reaction) },
		"after a failed handshake": func(step, reaction string) serverVector { return that("handshake", "alert 80", step, reaction) },
	}
	for _, transport := range slices.Sorted(maps.Keys(transports)) {
		for _, step := range []string{"MAIL", "RCPT", "DATA", "."} {
			for _, reaction := range inMail[step] {
				s := transports[transport](step, reaction)
				what := fmt.Sprintf("%s, %s: %s", transport, step, reaction)
				inputs = append(inputs, protections[0].on(what, s))
				if transport == "in TLS" {
					inputs = append(inputs, protections[1].on(what+"; then a good host", s, goodServer()))
				}
			}
		}
	}
	return append(inputs, append(recipientInputs(), needInputs()...)...)
}

// recipientInputs have two recipients, and what servers say of each.
func recipientInputs() (inputs []conversationInput) {
	replies := []string{"250 ok", "450 later", "452 too many", "550 no", "552 too many", "552 5.2.2 full"}
	for _, one := range replies {
		for _, two := range replies {
			s := that("RCPT TO:<x@example.org>", one, "RCPT TO:<y@example.org>", two)
			input := protections[1].on(fmt.Sprintf("two recipients: %s, %s; then a good host", one, two), s, goodServer())
			input.Message.To = append(input.Message.To, "y@example.org")
			inputs = append(inputs, input)
		}
	}
	return inputs
}

// needInputs have every kind of message for servers that offer more or less.
func needInputs() (inputs []conversationInput) {
	const mime = "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n"
	kinds := map[string]messageVector{
		"plain":                {From: "s@example.net", To: []string{"x@example.org"}, Text: "Subject: x\r\n\r\nHello\r\n"},
		"8-bit body":           {From: "s@example.net", To: []string{"x@example.org"}, Text: mime + "\r\nGr\u00fc\u00dfe\r\n"},
		"8-bit header":         {From: "s@example.net", To: []string{"x@example.org"}, Text: "Subject: Gr\u00fc\u00dfe\r\n\r\nHello\r\n"},
		"8-bit recipient":      {From: "s@example.net", To: []string{"\u00fc@example.org"}, Text: "Subject: x\r\n\r\nHello\r\n"},
		"a bounce":             {To: []string{"x@example.org"}, Text: "Subject: x\r\n\r\nHello\r\n", Return: "HDRS"},
		"wants reports":        {From: "s@example.net", To: []string{"x@example.org"}, Text: "Subject: x\r\n\r\nHello\r\n", Return: "FULL", EnvelopeID: "id+1", Notify: "SUCCESS"},
		"more than 40 octets":  {From: "s@example.net", To: []string{"x@example.org"}, Text: "Subject: x\r\n\r\n" + strings.Repeat("Hello\r\n", 5)},
		"requires TLS":         {From: "s@example.net", To: []string{"x@example.org"}, Text: "Subject: x\r\n\r\nHello\r\n", RequireTLS: true},
		"requires TLS, bounce": {To: []string{"x@example.org"}, Text: "Subject: x\r\n\r\nHello\r\n", RequireTLS: true},
	}
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		for offered := range 16 {
			s := goodServer()
			s.OffersInTLS = []string{}
			for i, keyword := range []string{"8BITMIME", "SMTPUTF8", "SIZE 40", "DSN"} {
				if offered>>i&1 == 1 {
					s.OffersInTLS = append(s.OffersInTLS, keyword)
				}
			}
			if offered%3 != 0 {
				s.OffersInTLS = append(s.OffersInTLS, "REQUIRETLS")
			}
			input := protections[1].on(kind+", offered "+strings.Join(s.OffersInTLS, " "), s)
			input.Message = kinds[kind]
			inputs = append(inputs, input)
		}
	}
	return inputs
}

// The vectors for other senders have the results of this one. Another
// reader, in Python, finds them by itself: see internal/test/interop/vectors.
func TestVectors(t *testing.T) {
	t.Parallel()
	inputs := conversationInputs()
	if len(inputs) < 1000 {
		t.Errorf("only %d conversations", len(inputs))
	}
	vectorfile.Check(t, "testdata/conversations.json", inputs, converse)
}
