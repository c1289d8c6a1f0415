package clients

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/mxseal/mxseal/examples/internal/situations"
	"github.com/mxseal/mxseal/internal/test/await"
	"github.com/mxseal/mxseal/internal/test/interop"
	"github.com/mxseal/mxseal/internal/test/interop/mailserver"
	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/delivery"
	"github.com/mxseal/mxseal/policy/policytest"
	"github.com/mxseal/mxseal/tlsrpt"
)

var clients = map[string]Client{"net/smtp": NetSMTP, "go-smtp": GoSMTP, "go-mail": GoMail}

// recorder keeps the sessions that were recorded.
type recorder struct {
	mu       sync.Mutex
	sessions []tlsrpt.Session
}

func (r *recorder) Record(s *tlsrpt.Session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sessions = append(r.sessions, *s)
}

func (r *recorder) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return recorded(r.sessions)
}

// recorded returns, for each session, its host, the policies that apply, and their failures.
func recorded(sessions []tlsrpt.Session) string {
	var all []string
	for _, session := range sessions {
		text, _, _ := strings.Cut(session.MXHost, ".")
		for _, outcome := range session.Outcomes {
			text += " " + string(outcome.Policy.Type)
			for _, failure := range outcome.Failures {
				text += " " + string(failure.Type)
			}
		}
		all = append(all, text)
	}
	return strings.Join(all, ", ")
}

// Each client gets the outcome of package delivery in all situations of the demo, and the
// same sessions are recorded. The exception is REQUIRETLS, a parameter that some clients
// cannot send.
func TestSituationsOfTheDemo(t *testing.T) {
	t.Parallel()
	all := situations.All(situations.Groups())
	bySendMail := make([]string, len(all)) // what is recorded
	for i, trial := range trials(t, all) {
		trial.Run(t.Context(), situations.SendMail)
		bySendMail[i] = recorded(trial.Reports())
	}
	withoutParameter := map[string]situations.Outcome{
		"require.test":     {Mail: situations.Waits, By: policy.ByDANE, Reason: "4.7.30"},
		"require-sts.test": {Mail: situations.Waits, By: policy.ByOperator, Reason: "4.7.30"},
	}
	sends := map[string]situations.Send{
		"go-smtp over a Pool": func(ctx context.Context, dialer *delivery.Dialer, from, to string, message []byte, options ...policy.Option) error {
			pool := &delivery.Pool{Dialer: dialer}
			defer pool.Close(ctx)
			return Send(ctx, pool, GoSMTP, Mail{From: from, To: to, Message: message}, options...)
		},
	}
	for name, client := range clients {
		sends[name] = func(ctx context.Context, dialer *delivery.Dialer, from, to string, message []byte, options ...policy.Option) error {
			return Send(ctx, dialer, client, Mail{From: from, To: to, Message: message}, options...)
		}
	}
	for name, send := range sends {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for i, trial := range trials(t, all) {
				if want, ok := withoutParameter[trial.Domain]; ok && !strings.HasPrefix(name, "go-smtp") {
					trial.Want = want
				}
				t.Run(trial.Domain, func(t *testing.T) {
					t.Parallel()
					if r := trial.Run(t.Context(), send); r.Wrong != nil {
						t.Error(r.Wrong)
					}
					if got := recorded(trial.Reports()); got != bySendMail[i] {
						t.Errorf("recorded %q, and by SendMail %q", got, bySendMail[i])
					}
				})
			}
		})
	}
}

// Over a Pool, mails to one host share a session, also those of a client that says QUIT.
func TestPoolSharesSessions(t *testing.T) {
	t.Parallel()
	for name, client := range clients {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inet := policytest.New(t)
			inet.Domain("example.test").MX("mx.example.test")
			mx := inet.Host("mx.example.test", policytest.TLSA("3 1 1"))
			pool := &delivery.Pool{Dialer: &delivery.Dialer{Resolver: inet.Resolver(), LocalName: "sender.test"}}
			const mails = 3
			for range mails {
				if err := Send(t.Context(), pool, client, hello); err != nil {
					t.Fatal(err)
				}
			}
			if failed := SendToAll(t.Context(), pool, hello.From, []string{hello.To, "me@example.test"}, hello.Message); len(failed) > 0 {
				t.Error(failed)
			}
			if err := pool.Close(t.Context()); err != nil {
				t.Error(err)
			}
			if messages, sessions := len(mx.Messages()), len(mx.Sessions()); messages != mails+1 || sessions != 1 {
				t.Errorf("%d messages in %d sessions", messages, sessions)
			}
		})
	}
}

// Through a smart host, each client begins after the login, and does not log in itself.
func TestSmartHostLoginComesFirst(t *testing.T) {
	t.Parallel()
	for name, client := range clients {
		for _, port := range []uint16{465, 587} {
			t.Run(fmt.Sprint(name, " ", port), func(t *testing.T) {
				t.Parallel()
				inet := policytest.New(t)
				inet.Domain("relay.test")
				relay := inet.Host("smtp.relay.test", policytest.Port(port), policytest.Extension("AUTH PLAIN"),
					policytest.On("AUTH", policytest.Say("235 2.7.0 welcome")))
				dialer := &delivery.Dialer{Resolver: inet.Resolver(), LocalName: "sender.test", SmartHost: &delivery.SmartHost{
					Host: fmt.Sprintf("[smtp.relay.test]:%d", port), Username: "me", Password: "secret",
				}}
				if err := Send(t.Context(), dialer, client, hello); err != nil {
					t.Fatal(err)
				}
				got := relay.Messages()
				if len(got) != 1 || got[0].Session.TLS == nil {
					t.Fatalf("received %+v", got)
				}
				commands := strings.Join(got[0].Session.Commands, "\n")
				before, after, found := strings.Cut(commands, "\nAUTH PLAIN ")
				if !found || strings.Contains(before, "MAIL") || strings.Contains(after, "AUTH") || !strings.Contains(after, "MAIL") {
					t.Errorf("the relay heard %q", commands)
				}
				defer relay.Break(policytest.Reply("AUTH", "535 5.7.8 no"))()
				var failure *policy.Error
				if err := Send(t.Context(), dialer, client, hello); !errors.As(err, &failure) || failure.Permanent || len(relay.Messages()) != 1 {
					t.Errorf("after a wrong password: %v", err)
				}
			})
		}
	}
}

// trials builds the situations in an internet of their own.
func trials(t *testing.T, all []situations.Situation) []*situations.Trial {
	t.Helper()
	built, err := situations.Build(t.Context(), policytest.New(t), all)
	if err != nil {
		t.Fatal(err)
	}
	return built
}

// situation is a domain with the mail hosts mx.example.test and mx2.example.test.
type situation struct {
	name    string
	mx, mx2 []policytest.Option // nil means no such host
	// unsigned and policy describe the domain. policy is the mode of MTA-STS; listed is
	// the host that the policy lists, or empty for mx.
	unsigned       bool
	policy, listed string
	nullMX         bool
	options        []policy.Option
	// want is "mx" or "mx2" followed by "tls" or "clear", or the kind and status of the
	// error. reports is what is recorded: "-" means nothing, and empty that it is not checked.
	want, reports string
	// wantWithout is what clients without REQUIRETLS get; empty means want.
	wantWithout string
}

const wrongKey = "3 1 1 0000000000000000000000000000000000000000000000000000000000000000"

func allSituations() []situation {
	options := func(all ...policytest.Option) []policytest.Option {
		return append([]policytest.Option{policytest.NoFault}, all...)
	}
	dane := func(more ...policytest.Option) []policytest.Option {
		return append(options(policytest.TLSA("3 1 1")), more...)
	}
	reply := func(step, reply string) []policytest.Option { return dane(policytest.Reply(step, reply)) }
	return []situation{
		{name: "no policy", unsigned: true, mx: options(), want: "mx tls"},
		{name: "no policy, self-signed", unsigned: true, mx: options(policytest.SelfSigned), want: "mx tls"},
		{name: "no policy, no STARTTLS", unsigned: true, mx: options(policytest.NoSTARTTLS), want: "mx clear"},
		{name: "no policy, the handshake fails", unsigned: true, mx: options(policytest.HangUp(policytest.Handshake)), want: "mx clear"},
		{name: "null MX", nullMX: true, want: "permanent 5.1.10", reports: "-"},

		{name: "DANE", mx: dane(), want: "mx tls", reports: "mx tlsa"},
		{name: "DANE mismatch", mx: options(policytest.TLSA(wrongKey)), want: "temporary 4.7.5"},
		{name: "DANE unusable", mx: options(policytest.TLSA("1 1 1"), policytest.SelfSigned), want: "mx tls"},
		{name: "DANE, STARTTLS stripped", mx: dane(policytest.NoSTARTTLS), want: "temporary 4.7.4", reports: "mx tlsa starttls-not-supported"},
		{name: "DANE mismatch at the first host", mx: options(policytest.TLSA(wrongKey)), mx2: dane(), want: "mx2 tls"},
		{name: "DANE, STARTTLS stripped at the first host", mx: dane(policytest.NoSTARTTLS), mx2: dane(), want: "mx2 tls", reports: "mx tlsa starttls-not-supported, mx2 tlsa"},

		{name: "MTA-STS enforce", unsigned: true, mx: options(), policy: "enforce", want: "mx tls", reports: "mx sts"},
		{name: "MTA-STS enforce, self-signed", unsigned: true, mx: options(policytest.SelfSigned), policy: "enforce", want: "temporary 4.7.5"},
		{name: "MTA-STS enforce, STARTTLS stripped", unsigned: true, mx: options(policytest.NoSTARTTLS), policy: "enforce", want: "temporary 4.7.4", reports: "mx sts starttls-not-supported"},
		{name: "MTA-STS enforce, not listed", unsigned: true, mx: options(), policy: "enforce", listed: "other.test", want: "temporary 4.7.5"},
		{name: "MTA-STS enforce lists the second", unsigned: true, mx: options(), mx2: options(), policy: "enforce", listed: "mx2.example.test", want: "mx2 tls"},
		{name: "MTA-STS testing, no TLS", unsigned: true, mx: options(policytest.NoSTARTTLS), policy: "testing", want: "mx clear", reports: "mx sts starttls-not-supported"},

		{name: "4yz greeting, second host", mx: reply(policytest.Greeting, "421 4.3.2 later"), mx2: dane(), want: "mx2 tls"},
		{name: "4yz at MAIL", mx: reply("MAIL", "451 4.3.0 later"), want: "temporary 4.3.0", reports: "mx tlsa"},
		{name: "4yz at MAIL, second host", mx: reply("MAIL", "451 4.3.0 later"), mx2: dane(), want: "mx2 tls", reports: "mx tlsa, mx2 tlsa"},
		{name: "5yz at MAIL", mx: reply("MAIL", "550 5.7.1 no"), mx2: dane(), want: "permanent 5.7.1"},
		{name: "4yz at RCPT, second host", mx: reply("RCPT", "450 4.2.0 later"), mx2: dane(), want: "mx2 tls"},
		{name: "5yz at RCPT", mx: reply("RCPT", "550 5.1.1 nobody"), mx2: dane(), want: "permanent 5.1.1", reports: "mx tlsa"},
		{name: "4yz at DATA, second host", mx: reply("DATA", "451 4.3.0 later"), mx2: dane(), want: "mx2 tls"},
		{name: "5yz at DATA", mx: reply("DATA", "554 5.6.0 no"), mx2: dane(), want: "permanent 5.6.0"},
		{name: "4yz after the message", mx: reply(policytest.EndOfData, "451 4.3.0 later"), mx2: dane(), want: "temporary 4.3.0"},
		{name: "5yz after the message", mx: reply(policytest.EndOfData, "554 5.6.0 no"), mx2: dane(), want: "permanent 5.6.0"},
		{name: "hangs up at RCPT, second host", mx: dane(policytest.HangUp("RCPT")), mx2: dane(), want: "mx2 tls"},
		{name: "hangs up after the message", mx: dane(policytest.HangUp(policytest.EndOfData)), mx2: dane(), want: "temporary 4.4.2"},
		{name: "hangs up at QUIT", mx: dane(policytest.HangUp("QUIT")), mx2: dane(), want: "mx tls"},

		{name: "REQUIRETLS", mx: dane(policytest.OfferREQUIRETLS), options: []policy.Option{policy.RequireTLS()}, want: "mx tls", wantWithout: "temporary 4.7.30"},
		{name: "REQUIRETLS, not offered", mx: dane(), options: []policy.Option{policy.RequireTLS()}, want: "permanent 5.7.30"},
	}
}

// Each client does what the plan says in each situation: the mail goes only where the plan
// permits, the error is permanent or temporary as it should be, and the sessions are
// recorded.
func TestClientsFollowPlanInEachSituation(t *testing.T) {
	t.Parallel()
	for _, s := range allSituations() {
		t.Run(s.name, func(t *testing.T) {
			for name, client := range clients {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					s.run(t, name, client)
				})
			}
		})
	}
}

func (s *situation) run(t *testing.T, name string, client Client) {
	inet := policytest.New(t)
	var domain *policytest.Domain
	if s.unsigned {
		domain = inet.Domain("example.test", policytest.Unsigned)
	} else {
		domain = inet.Domain("example.test")
	}
	var mx []string
	hosts := map[string]*policytest.Host{}
	for host, options := range map[string][]policytest.Option{"mx": s.mx, "mx2": s.mx2} {
		if options != nil {
			hosts[host] = inet.Host(host+".example.test", options...)
		}
	}
	for _, host := range []string{"mx", "mx2"} {
		if hosts[host] != nil {
			mx = append(mx, host+".example.test")
		}
	}
	if s.nullMX {
		mx = []string{"."}
	}
	domain.MX(mx...)
	if s.policy != "" {
		listed := s.listed
		if listed == "" {
			listed = "mx.example.test"
		}
		domain.Policy(s.policy, listed)
	}
	var reports recorder
	dialer := &delivery.Dialer{Resolver: inet.Resolver(), Recorder: &reports, LocalName: "sender.test"}
	err := Send(t.Context(), dialer, client, hello, s.options...)

	var got []string
	for host, received := range hosts {
		for _, message := range received.Messages() {
			how := "clear"
			if message.Session.TLS != nil {
				how = "tls"
			}
			got = append(got, host+" "+how)
			if message.Session.Helo != "sender.test" || message.From != hello.From || len(message.To) != 1 || message.To[0] != hello.To || !strings.Contains(string(message.Data), "Hello there.") {
				t.Errorf("%s received %+v", host, message)
			}
		}
	}
	var failure *policy.Error
	switch {
	case errors.As(err, &failure):
		kind := "temporary "
		if failure.Permanent {
			kind = "permanent "
		}
		got = append(got, kind+failure.Status)
	case err != nil:
		t.Errorf("an error of another type: %v", err)
	}
	want := s.want
	if s.wantWithout != "" && name != "go-smtp" {
		want = s.wantWithout
	}
	if strings.Join(got, ", ") != want {
		t.Errorf("got %q, want %q: %v", got, want, err)
	}
	reported := reports.String()
	switch {
	case s.reports == "-":
		if reported != "" {
			t.Errorf("recorded %q", reported)
		}
	case s.reports != "" && reported != s.reports:
		t.Errorf("recorded %q, want %q", reported, s.reports)
	}
}

var hello = Mail{
	From: "me@sender.test", To: "you@example.test",
	Message: []byte("From: me@sender.test\r\nTo: you@example.test\r\nSubject: Hello\r\nDate: Fri, 02 Jan 2026 15:04:05 +0000\r\nMessage-ID: <1@sender.test>\r\n\r\nHello there.\r\n"),
}

// Each client sends to a Postfix with a verified certificate, and not to one without.
func TestPostfixNeedsVerifiedCertificate(t *testing.T) {
	t.Parallel()
	interop.Need(t, "postfix")
	inet := policytest.New(t)
	const proper, other = "mx.example.test", "mx.other.test"
	chain := inet.IssueCertificate(proper)
	postfix := mailserver.StartPostfix(t, []mailserver.Entrance{
		{Addr: proper, Chain: mailserver.ChainFile(t, chain)}, {Addr: other},
	})
	record := policytest.TLSARecord(chain.Leaf, "3 1 1")
	for domain, mx := range map[string]string{"example.test": proper, "other.test": other} {
		inet.Domain(domain).MX(mx)
		inet.Server(mx, fmt.Sprint("127.0.0.1:", postfix.Ports[mx]), record)
	}
	dialer := &delivery.Dialer{Resolver: inet.Resolver(), LocalName: "sender.test"}
	for name, client := range clients {
		mail := hello
		mail.Message = []byte(strings.Replace(string(hello.Message), "there", "by "+name, 1))
		if err := Send(t.Context(), dialer, client, mail); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		mail.To, mail.Message = "you@other.test", []byte(strings.Replace(string(hello.Message), "there", "in clear by "+name, 1))
		var failure *policy.Error
		if err := Send(t.Context(), dialer, client, mail); !errors.As(err, &failure) || failure.Permanent || failure.Reason == "" {
			t.Errorf("%s, to a host without TLS: %v", name, err)
		}
	}
	await.Until(t, "Postfix has all messages", func() bool { return len(postfix.Messages(t)) >= len(clients) })
	all := strings.Join(postfix.Messages(t), "\n")
	for name := range clients {
		if !strings.Contains(all, "Hello by "+name) {
			t.Errorf("no mail by %s", name)
		}
	}
	if strings.Contains(all, "in clear by") {
		t.Error("mail went to the host without TLS")
	}
}

// A page has at most 25 lines that matter: those of its function and of the loop's body.
func TestPagesAreShort(t *testing.T) {
	t.Parallel()
	for _, page := range []string{"clients.go", "netsmtp.go", "gosmtp.go", "gomail.go"} {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		_, function, found := strings.Cut(string(text), "\nfunc ")
		if lines := strings.Count(strings.TrimSpace(function), "\n") + 1; !found || lines > 25 {
			t.Errorf("%s: %d lines", page, lines)
		}
	}
}
