package delivery_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/smtp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/delivery"
	"github.com/mxseal/mxseal/policy/policytest"
	"github.com/mxseal/mxseal/tlsrpt"
)

// resolver makes a Resolver for an internet.
func resolver(t testing.TB, inet *policytest.Internet, change ...func(*policy.Config)) *policy.Resolver {
	t.Helper()
	return inet.Resolver(change...)
}

// sessions is a Recorder that keeps everything.
type sessions struct {
	mu   sync.Mutex
	list []tlsrpt.Session
}

func (s *sessions) Record(session *tlsrpt.Session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(s.list, *session)
}

// take returns the failures of each session recorded since the last time.
func (s *sessions) take() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []string
	for _, session := range s.list {
		for _, outcome := range session.Outcomes {
			line := string(outcome.Policy.Type)
			for _, failure := range outcome.Failures {
				line += " " + string(failure.Type)
			}
			all = append(all, line)
		}
	}
	s.list = nil
	return all
}

const letter = "From: s@example.net\r\nSubject: x\r\n\r\nHello\r\n"

// Under every attack that a policy protects from, the mail waits: it is not bounced, and
// goes to no other host. If nothing is published, it is sent in TLS if possible. STS-74, STS-75, STS-78, STS-83, DANE-26 to DANE-33, DANE-111,
// STT-12, STT-13, STT-15, field notes 15 and 63.
func TestDialerUnderAttack(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	inet.Domain("dane.example").MX("mx.dane.example")
	inet.Domain("sts.example", policytest.Unsigned).MX("mx.sts.example").Policy("enforce", "mx.sts.example")
	inet.Domain("testing.example", policytest.Unsigned).MX("mx.testing.example").Policy("testing", "mx.testing.example")
	inet.Domain("bare.example", policytest.Unsigned).MX("mx.bare.example")
	inet.Domain("unusable.example").MX("mx.unusable.example")
	hosts := map[string]*policytest.Host{
		"dane.example":     inet.Host("mx.dane.example", policytest.TLSA("3 1 1")),
		"sts.example":      inet.Host("mx.sts.example"),
		"testing.example":  inet.Host("mx.testing.example"),
		"bare.example":     inet.Host("mx.bare.example"),
		"unusable.example": inet.Host("mx.unusable.example", policytest.TLSA("0 0 1 "+strings.Repeat("00", 32))),
	}
	recorder := new(sessions)
	patient := &delivery.Dialer{Resolver: resolver(t, inet), Recorder: recorder, LocalName: "sender.example"}
	// For servers that never answer. A command that is late for another reason ends in the same way.
	hasty := &delivery.Dialer{Resolver: patient.Resolver, Recorder: recorder, LocalName: "sender.example", CommandTimeout: 200 * time.Millisecond}
	unconnected := &delivery.Dialer{Resolver: patient.Resolver, Recorder: recorder, LocalName: "sender.example", ConnectTimeout: 200 * time.Millisecond}
	const (
		inTLS, inClear = "TLS", "clear"
		none           = "" // no mail
	)
	type want struct {
		mail, status, report string
	}
	for _, test := range []struct {
		name  string
		d     *delivery.Dialer
		fault policytest.Option
		want  map[string]want // by domain
	}{
		{"as published", patient, policytest.Extension("SIZE"), map[string]want{
			"dane.example":     {inTLS, "", "tlsa"},
			"sts.example":      {inTLS, "", "sts"},
			"testing.example":  {inTLS, "", "sts"},
			"bare.example":     {inTLS, "", "no-policy-found"},
			"unusable.example": {inTLS, "", "tlsa"},
		}},
		{"STARTTLS stripped", patient, policytest.NoSTARTTLS, map[string]want{
			"dane.example":     {none, "4.7.4", "tlsa starttls-not-supported"},
			"sts.example":      {none, "4.7.4", "sts starttls-not-supported"},
			"testing.example":  {inClear, "", "sts starttls-not-supported"},
			"bare.example":     {inClear, "", "no-policy-found starttls-not-supported"},
			"unusable.example": {none, "4.7.4", "tlsa starttls-not-supported"},
		}},
		{"STARTTLS refused", patient, policytest.Reply("STARTTLS", "454 4.7.0 not now"), map[string]want{
			"dane.example":     {none, "4.7.4", "tlsa starttls-not-supported"},
			"sts.example":      {none, "4.7.4", "sts starttls-not-supported"},
			"testing.example":  {inClear, "", "sts starttls-not-supported"},
			"bare.example":     {inClear, "", "no-policy-found starttls-not-supported"},
			"unusable.example": {none, "4.7.4", "tlsa starttls-not-supported"},
		}},
		{"another server", patient, policytest.Impostor, map[string]want{
			"dane.example":     {none, "4.7.5", "tlsa tlsa-invalid"},
			"sts.example":      {none, "4.7.5", "sts certificate-not-trusted"},
			"testing.example":  {inTLS, "", "sts certificate-not-trusted"},
			"bare.example":     {inTLS, "", "no-policy-found"},
			"unusable.example": {inTLS, "", "tlsa"},
		}},
		{"response injection", patient, policytest.InjectAfterSTARTTLS("250 ok\r\n"), map[string]want{
			"dane.example":     {none, "4.7.5", "tlsa validation-failure"},
			"sts.example":      {none, "4.7.5", "sts validation-failure"},
			"testing.example":  {inTLS, "", "sts validation-failure"}, // S22
			"bare.example":     {inTLS, "", "no-policy-found validation-failure"},
			"unusable.example": {none, "4.7.5", "tlsa validation-failure"},
		}},
		{"handshake cut off", patient, policytest.HangUp(policytest.Handshake), map[string]want{
			"dane.example":     {none, "4.7.5", "tlsa validation-failure"},
			"sts.example":      {none, "4.7.5", "sts validation-failure"},
			"unusable.example": {none, "4.7.5", "tlsa validation-failure"},
		}},
		{"handshake stalled", hasty, policytest.Stall(policytest.Handshake), map[string]want{
			"dane.example": {none, "4.4.2", ""}, // RPT-65
			"sts.example":  {none, "4.4.2", ""},
		}},
		{"old TLS only", patient, policytest.MaxTLS(tls.VersionTLS11), map[string]want{
			"dane.example":     {none, "4.7.5", "tlsa validation-failure"},
			"sts.example":      {none, "4.7.5", "sts validation-failure"},
			"bare.example":     {inTLS, "", "no-policy-found"},
			"unusable.example": {none, "4.7.5", "tlsa validation-failure"},
		}},
		{"endless greeting", patient, policytest.Endless(policytest.Greeting), map[string]want{
			"dane.example": {none, "4.4.2", ""}, "bare.example": {none, "4.4.2", ""},
		}},
		{"no greeting", hasty, policytest.Stall(policytest.Greeting), map[string]want{
			"dane.example": {none, "4.4.2", ""}, "bare.example": {none, "4.4.2", ""},
		}},
		{"no answer", unconnected, policytest.Blackhole, map[string]want{
			"sts.example": {none, "4.4.1", ""}, "bare.example": {none, "4.4.1", ""},
		}},
		{"refused", patient, policytest.Refuse, map[string]want{
			"sts.example": {none, "4.4.1", ""}, "bare.example": {none, "4.4.1", ""},
		}},
	} {
		for domain, want := range test.want {
			host := hosts[domain]
			before := len(host.Messages())
			restore := host.Break(test.fault)
			err := test.d.SendMail(t.Context(), "s@example.net", []string{"user@" + domain}, []byte(letter))
			restore()
			mail := none
			if messages := host.Messages(); len(messages) > before {
				mail = inClear
				if messages[len(messages)-1].Session.TLS != nil {
					mail = inTLS
				}
			}
			if mail != want.mail || len(host.Messages()) > before+1 {
				t.Errorf("%s: %s: mail %q, want %q", test.name, domain, mail, want.mail)
			}
			var failure *policy.Error
			if errors.As(err, &failure); want.status == "" != (err == nil) {
				t.Errorf("%s: %s: error %v", test.name, domain, err)
			} else if err != nil && (failure.Status != want.status || failure.Permanent) {
				t.Errorf("%s: %s: status %s, want %s: %v", test.name, domain, failure.Status, want.status, err)
			}
			if report := strings.Join(recorder.take(), ", "); report != want.report {
				t.Errorf("%s: %s: reported %q, want %q", test.name, domain, report, want.report)
			}
		}
	}
}

// A Session has the addresses and the name of a report, RPT-31 and following.
func TestDialRecordsTheSession(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	inet.Domain("dane.example").MX("mx.dane.example")
	inet.Host("mx.dane.example", policytest.TLSA("3 1 1"), policytest.Addrs("192.0.2.77"))
	recorder := new(sessions)
	d := delivery.Dialer{Resolver: resolver(t, inet), Recorder: recorder}
	client, err := d.Dial(t.Context(), "dane.example")
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if len(recorder.list) != 1 {
		t.Fatalf("%d sessions", len(recorder.list))
	}
	got := recorder.list[0]
	if got.Domain != "dane.example" || got.MXHost != "mx.dane.example" || got.HELO != "mx.dane.example" ||
		got.ReceivingIP.String() != "192.0.2.77" || got.SendingIP.String() != "203.0.113.255" {
		t.Errorf("%+v", got)
	}
	state, ok := client.TLS()
	if !ok || state.ServerName != "mx.dane.example" || client.Host.By != policy.ByDANE {
		t.Errorf("TLS %v for %q, by %v", ok, state.ServerName, client.Host.By)
	}
}

// STS-81, STS-82: a host outside the allow-list is treated as unreachable, and
// reported; the next one gets the mail.
func TestDialSkipsRefusedHosts(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	inet.Domain("sts.example", policytest.Unsigned).MX("evil.example.net", "mx.sts.example").Policy("enforce", "mx.sts.example")
	inet.Domain("example.net", policytest.Unsigned)
	evil := inet.Host("evil.example.net")
	inet.Host("mx.sts.example")
	recorder := new(sessions)
	d := delivery.Dialer{Resolver: resolver(t, inet), Recorder: recorder}
	client, err := d.Dial(t.Context(), "sts.example")
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if client.Host.Name != "mx.sts.example" || len(evil.Sessions()) != 0 {
		t.Errorf("session with %s, %d with the refused host", client.Host.Name, len(evil.Sessions()))
	}
	if got, want := recorder.take(), []string{"sts certificate-host-mismatch", "sts"}; !slices.Equal(got, want) {
		t.Errorf("reported %q, want %q", got, want)
	}
}

// STS-77, STS-79: before mail is held back for MTA-STS, the id is looked up
// again, and the hosts of a new policy are tried.
func TestDialFollowsANewPolicy(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	domain := inet.Domain("moved.example", policytest.Unsigned).MX("old.moved.example")
	host := domain.Policy("enforce", "old.moved.example")
	inet.Host("old.moved.example", policytest.Impostor)
	inet.Host("new.moved.example")
	var (
		move  sync.Once
		dials int
	)
	r := resolver(t, inet, func(c *policy.Config) {
		c.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			if strings.HasSuffix(addr, ":25") {
				dials++
				move.Do(func() { // while mail is on its way
					domain.MX("new.moved.example")
					host.Publish("version: STSv1\nmode: enforce\nmx: new.moved.example\nmax_age: 86400\n")
					inet.Advance(24 * time.Hour)
				})
			}
			return inet.Dial(ctx, network, addr)
		}
	})
	d := delivery.Dialer{Resolver: r}
	client, err := d.Dial(t.Context(), "moved.example")
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if client.Host.Name != "new.moved.example" || client.Plan.Host("old.moved.example") != nil || dials != 2 {
		t.Errorf("session with %s after %d connections", client.Host.Name, dials)
	}
	// The new host fails as well, and its policy stays: once is enough.
	defer inet.Host("third.moved.example").Break(policytest.Impostor)()
	domain.MX("third.moved.example")
	host.Publish("version: STSv1\nmode: enforce\nmx: third.moved.example\nmax_age: 86400\n")
	inet.Advance(24 * time.Hour)
	dials = 0
	var failure *policy.Error
	if _, err := d.Dial(t.Context(), "moved.example"); !errors.As(err, &failure) || failure.Permanent || dials > 2 {
		t.Errorf("%d connections, error %v", dials, err)
	}
}

// REQ-2, REQ-6, REQ-10 to REQ-15, by real plans.
func TestDialRequireTLS(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	inet.Domain("good.example").MX("mx.good.example")
	inet.Domain("second.example").MX("mx.lacking.example", "mx.good.example")
	inet.Domain("lacking.example").MX("mx.lacking.example")
	inet.Domain("sts.example", policytest.Unsigned).MX("mx.sts.example").Policy("enforce", "mx.sts.example")
	inet.Domain("insecure.example", policytest.Unsigned).MX("mx.good.example")
	inet.Domain("clear.example").MX("mx.clear.example")
	good := inet.Host("mx.good.example", policytest.TLSA("3 1 1"), policytest.OfferREQUIRETLS)
	inet.Host("mx.lacking.example", policytest.TLSA("3 1 1"))
	sts := inet.Host("mx.sts.example", policytest.OfferREQUIRETLS)
	inet.Host("mx.clear.example", policytest.NoSTARTTLS)
	d := delivery.Dialer{Resolver: resolver(t, inet)}
	for _, test := range []struct {
		domain, status string
		host           *policytest.Host
	}{
		{"good.example", "", good},
		{"second.example", "", good},
		{"sts.example", "", sts},
		{"lacking.example", "5.7.30", nil},
		{"clear.example", "5.7.10", nil},
		{"insecure.example", "5.7.10", nil},
	} {
		err := d.SendMail(t.Context(), "s@example.net", []string{"user@" + test.domain}, []byte(letter), policy.RequireTLS())
		var failure *policy.Error
		switch errors.As(err, &failure); {
		case test.status == "" && err != nil:
			t.Errorf("%s: %v", test.domain, err)
		case test.status == "":
			messages := test.host.Messages()
			if last := messages[len(messages)-1]; last.To[0] != "user@"+test.domain || !slices.Contains(last.Params, "REQUIRETLS") {
				t.Errorf("%s: %+v", test.domain, last)
			}
		case err == nil || failure.Status != test.status || !failure.Permanent:
			t.Errorf("%s: error %v, want %s", test.domain, err, test.status)
		}
	}
}

// REQ-17 to REQ-19, REQ-26: only mail with "TLS-Required: No" is sent although a policy
// cannot be met, in TLS if possible. REQ-25: a bounce may go to an authenticated host that
// lacks REQUIRETLS.
func TestMessagesThatAskForLess(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	inet.Domain("dane.example").MX("mx.dane.example")
	inet.Domain("sts.example", policytest.Unsigned).MX("mx.sts.example").Policy("enforce", "mx.sts.example")
	inet.Domain("good.example").MX("mx.good.example")
	dane := inet.Host("mx.dane.example", policytest.TLSA("3 1 1"), policytest.NoSTARTTLS)
	sts := inet.Host("mx.sts.example", policytest.Impostor)
	good := inet.Host("mx.good.example", policytest.TLSA("3 1 1"))
	recorder := new(sessions)
	d := delivery.Dialer{Resolver: resolver(t, inet), Recorder: recorder}
	requireTLS := []policy.Option{policy.RequireTLS()}
	for _, test := range []struct {
		from, domain, header string
		host                 *policytest.Host
		options              []policy.Option
		sent, inTLS          bool
	}{
		{"s@example.net", "dane.example", "", dane, nil, false, false},
		{"s@example.net", "dane.example", "TLS-Required: No\r\n", dane, nil, true, false},
		{"s@example.net", "dane.example", "TLS-Required: No\r\n", dane, requireTLS, false, false}, // REQ-21
		{"s@example.net", "sts.example", "", sts, nil, false, false},
		{"s@example.net", "sts.example", "TLS-Required: No\r\n", sts, nil, true, true},
		{"s@example.net", "sts.example", "TLS-Required: No\r\nTLS-Required: No\r\n", sts, nil, false, false}, // REQ-22
		{"s@example.net", "good.example", "", good, requireTLS, false, false},
		{"", "good.example", "", good, requireTLS, true, true},
		{"", "dane.example", "", dane, requireTLS, false, false},
	} {
		before := len(test.host.Messages())
		err := d.SendMail(t.Context(), test.from, []string{"user@" + test.domain}, []byte(test.header+letter), test.options...)
		messages := test.host.Messages()[before:]
		if sent := len(messages) == 1; sent != test.sent || sent != (err == nil) {
			t.Errorf("%+v: sent %v, error %v", test, sent, err)
		} else if sent && (messages[0].Session.TLS != nil) != test.inTLS {
			t.Errorf("%+v: in TLS %v", test, !test.inTLS)
		}
	}
}

// With DANE and an enforced policy, each gets its own result: the impostor's
// certificate is of the web PKI, and not the one in the TLSA record.
func TestDialRecordsEachPolicy(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	inet.Domain("signed.example")
	inet.Domain("both.example", policytest.Unsigned).MX("mx.signed.example").Policy("enforce", "mx.signed.example")
	inet.Host("mx.signed.example", policytest.TLSA("3 1 1")).Break(policytest.OtherKey)
	recorder := new(sessions)
	d := delivery.Dialer{Resolver: resolver(t, inet), Recorder: recorder}
	if _, err := d.Dial(t.Context(), "both.example"); err == nil {
		t.Error("no error")
	}
	if got, want := recorder.take(), []string{"tlsa tlsa-invalid", "sts"}; !slices.Equal(got, want) {
		t.Errorf("reported %q, want %q", got, want)
	}
}

// dialers returns functions that hold a session: by DANE 3 1 1 with the plan cached, and by
// net/smtp without verification, with the same server and certificates.
func dialers(b *testing.B) (ours, theirs func() error) {
	inet := policytest.New(b)
	inet.Domain("dane.example").MX("mx.dane.example")
	inet.Host("mx.dane.example", policytest.TLSA("3 1 1"))
	d := delivery.Dialer{Resolver: resolver(b, inet), LocalName: "sender.example"}
	plan, err := d.Resolver.Resolve(b.Context(), "dane.example")
	if err != nil {
		b.Fatal(err)
	}
	addr := net.JoinHostPort(plan.Hosts[0].Addrs[0].String(), "25")
	ours = func() error {
		client, err := d.Dial(b.Context(), "dane.example")
		if err != nil {
			return err
		}
		return client.Quit()
	}
	theirs = func() error {
		conn, err := inet.Dial(b.Context(), "tcp", addr)
		if err != nil {
			return err
		}
		return plainDial(conn, &tls.Config{ServerName: "mx.dane.example", InsecureSkipVerify: true})
	}
	return ours, theirs
}

// What a Dial costs by DANE 3 1 1 next to net/smtp without verification, in turn and in
// the same run: the metric Dial/net-smtp is the ratio of the two medians.
func BenchmarkDial(b *testing.B) {
	ours, theirs := dialers(b)
	var took, plain []time.Duration
	for b.Loop() {
		for _, each := range []struct {
			dial func() error
			took *[]time.Duration
		}{{ours, &took}, {theirs, &plain}} {
			start := time.Now()
			if err := each.dial(); err != nil {
				b.Fatal(err)
			}
			*each.took = append(*each.took, time.Since(start))
		}
	}
	slices.Sort(took)
	slices.Sort(plain)
	b.ReportMetric(float64(took[len(took)/2]), "ns/Dial")
	b.ReportMetric(float64(plain[len(plain)/2]), "ns/net-smtp")
	b.ReportMetric(float64(took[len(took)/2])/float64(plain[len(plain)/2]), "Dial/net-smtp")
}

// plainDial is what a client without policies does.
func plainDial(conn net.Conn, config *tls.Config) error {
	defer conn.Close()
	client, err := smtp.NewClient(conn, config.ServerName)
	if err != nil {
		return err
	}
	if err := client.Hello("sender.example"); err != nil {
		return err
	}
	if err := client.StartTLS(config); err != nil {
		return err
	}
	return client.Quit()
}
