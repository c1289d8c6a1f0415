package advise

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/examples/internal/situations"
	"github.com/mxseal/mxseal/examples/mxseal/internal/cli"
	"github.com/mxseal/mxseal/policy/policytest"
)

// runWith runs the subcommand for a sender that has not met the domain before.
func runWith(t *testing.T, inet *policytest.Internet, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errors bytes.Buffer
	env := &cli.Env{DNS: inet.DNSConfig(), Policy: inet.Config(), Stdout: &out, Stderr: &errors}
	code = run(t.Context(), env, args)
	if strings.ContainsFunc(out.String(), func(c rune) bool { return c < ' ' && c != '\n' || c >= 0x7f }) {
		t.Errorf("%q prints more than plain text: %q", args, out.String())
	}
	return out.String(), errors.String(), code
}

// want is the advice in a situation: the zone, the hosting, how many failures an enforced
// policy would cause, and the steps that are left.
type want struct {
	zone    Zone
	hosting Hosting
	breaks  int
	steps   string
}

// adviceBySituation returns the advice in each situation of the demo. The sender has not met
// the domain before, so attacks on remembered policies look like faults.
func adviceBySituation() map[string]want {
	return map[string]want{
		"plain.test":         {"unsigned", "own servers", 0, "testing enforce sign tlsa"},
		"signed.test":        {"signed", "own servers", 0, "testing enforce tlsa"},
		"stranger.test":      {"unsigned", "own servers", 1, "testing prepare enforce sign tlsa"},
		"clear.test":         {"unsigned", "own servers", 1, "testing prepare enforce sign tlsa"},
		"shaky.test":         {"unsigned", "own servers", 1, "testing prepare enforce sign tlsa"},
		"implicit.test":      {"unsigned", "own servers", 0, "testing enforce sign tlsa"},
		"dane.test":          {"signed", "own servers", 0, "testing enforce"},
		"issuer.test":        {"signed", "own servers", 0, "testing enforce"},
		"rollover.test":      {"signed", "own servers", 0, "testing enforce"},
		"expired-ee.test":    {"signed", "own servers", 1, "testing prepare enforce"},
		"name-ee.test":       {"signed", "own servers", 1, "testing prepare enforce"},
		"self-ee.test":       {"signed", "own servers", 1, "testing prepare enforce"},
		"unusable.test":      {"signed", "own servers", 0, "testing enforce tlsa"},
		"implicit-dane.test": {"signed", "own servers", 0, "testing enforce"},
		"alias.test":         {"signed", "own servers", 1, "testing prepare enforce"},
		"cloud.test":         {"signed", "own servers", 1, "testing prepare enforce"},
		"rescue.test":        {"signed", "own servers", 0, "repair-hosts testing enforce"},
		"xn--bcher-kva.test": {"signed", "own servers", 0, "testing enforce"},
		"enforce.test":       {"unsigned", "own servers", 0, "reports sign tlsa"},
		"wildcard.test":      {"unsigned", "own servers", 0, "reports sign tlsa"},
		"backup.test":        {"unsigned", "own servers", 1, "repair-hosts reports sign tlsa"},
		"testing.test":       {"unsigned", "own servers", 2, "reports prepare enforce sign tlsa"},
		"none.test":          {"unsigned", "own servers", 1, "testing prepare enforce sign tlsa"},
		"broken.test":        {"unsigned", "own servers", 0, "repair-policy reports enforce sign tlsa"},
		"dane-first.test":    {"signed", "own servers", 1, "prepare reports"},
		"hosted.test":        {"unsigned", "a provider that has DANE", 0, "testing enforce sign"},
		"hosted-sts.test":    {"unsigned", "a provider that has DANE", 0, "reports sign"},
		"hosted-test.test":   {"unsigned", "a provider that has DANE", 0, "reports enforce sign"},
		"hosted-odd.test":    {"unsigned", "a provider that lacks DANE", 0, "testing enforce sign ask-provider"},
		"hosted-both.test":   {"unsigned", "a provider that lacks DANE", 0, "reports sign ask-provider"},
		"odd-sts.test":       {"signed", "own servers", 0, "reports tlsa"},
		"signed-sts.test":    {"signed", "own servers", 0, "reports tlsa"},
		"signed-test.test":   {"signed", "own servers", 1, "reports prepare enforce tlsa"},
		"stripped.test":      {"signed", "own servers", 1, "repair-hosts testing prepare enforce"},
		"refused.test":       {"signed", "own servers", 1, "repair-hosts testing prepare enforce"},
		"impostor.test":      {"signed", "own servers", 1, "repair-hosts testing prepare enforce"},
		"public-ca.test":     {"signed", "own servers", 0, "repair-hosts testing enforce"},
		"injected.test":      {"signed", "own servers", 1, "repair-hosts testing prepare enforce"},
		"downgraded.test":    {"signed", "own servers", 1, "repair-hosts testing prepare enforce"},
		"ta-expired.test":    {"signed", "own servers", 1, "repair-hosts testing prepare enforce"},
		"ta-name.test":       {"signed", "own servers", 1, "repair-hosts testing prepare enforce"},
		"odd-clear.test":     {"signed", "own servers", 1, "repair-hosts testing prepare enforce tlsa"},
		"no-fallback.test":   {"signed", "own servers", 0, "repair-hosts reports"},
		"dropped.test":       {"unknown", "no mail host", 0, "repair-dns"},
		"mx-forged.test":     {"unknown", "no mail host", 0, "repair-dns"},
		"mx-bogus.test":      {"unknown", "no mail host", 0, "repair-dns"},
		"stripped-dns.test":  {"unknown", "no mail host", 0, "repair-dns"},
		"a-forged.test":      {"signed", "own servers", 1, "repair-hosts testing prepare enforce"},
		"tlsa-servfail.test": {"signed", "own servers", 1, "repair-hosts testing prepare enforce"},
		"tlsa-bogus.test":    {"signed", "own servers", 1, "repair-hosts testing prepare enforce"},
		"tlsa-denied.test":   {"signed", "own servers", 1, "repair-hosts testing prepare enforce"},
		"old-server.test":    {"unsigned", "own servers", 0, "testing enforce sign tlsa"},
		"unprotected.test":   {"unsigned", "a provider that lacks DANE", 0, "testing enforce sign ask-provider"},
		"sts-strip.test":     {"unsigned", "own servers", 1, "repair-hosts reports sign tlsa"},
		"sts-self.test":      {"unsigned", "own servers", 1, "repair-hosts reports sign tlsa"},
		"sts-expired.test":   {"unsigned", "own servers", 1, "repair-hosts reports sign tlsa"},
		"sts-name.test":      {"unsigned", "own servers", 1, "repair-hosts reports sign tlsa"},
		"forged-mx.test":     {"unsigned", "a provider that has DANE", 1, "repair-hosts reports sign"},
		"spoofed-id.test":    {"unsigned", "own servers", 1, "repair-policy reports prepare enforce sign tlsa"},
		"unreachable.test":   {"unsigned", "own servers", 0, "repair-policy reports enforce sign tlsa"},
		"hidden.test":        {"unsigned", "own servers", 1, "testing prepare enforce sign tlsa"},
		"first-mail.test":    {"unsigned", "own servers", 0, "repair-policy reports enforce sign tlsa"},
		"require.test":       {"signed", "own servers", 0, "testing enforce"},
		"require-sts.test":   {"unsigned", "own servers", 0, "reports enforce sign tlsa"},
		"require-route.test": {"unsigned", "own servers", 0, "testing enforce sign tlsa"},
		"require-lack.test":  {"signed", "own servers", 0, "testing enforce"},
		"optional.test":      {"signed", "own servers", 1, "repair-hosts testing prepare enforce"},
		"literal.test":       {"unknown", "no mail host", 0, ""},
		"null-mx.test":       {"unknown", "no mail host", 0, ""},
		"nowhere.test":       {"unknown", "no mail host", 0, ""},
		"no-address.test":    {"signed", "own servers", 1, "repair-hosts testing prepare enforce"},
		"loopback.test":      {"unsigned", "own servers", 1, "repair-hosts testing prepare enforce sign"},
		"floor.test":         {"unsigned", "own servers", 1, "testing prepare enforce sign tlsa"},
		"floor-valid.test":   {"unsigned", "own servers", 0, "testing enforce sign tlsa"},
		"floor-self.test":    {"unsigned", "own servers", 1, "testing prepare enforce sign tlsa"},
		"floor-opt.test":     {"unsigned", "own servers", 1, "testing prepare enforce sign tlsa"},
		"mandatory.test":     {"signed", "own servers", 0, "testing enforce tlsa"},
		"strict.test":        {"signed", "own servers", 1, "prepare reports"},
		"relayed.test":       {"unsigned", "own servers", 0, "testing enforce sign tlsa"},
		"relay-gone.test":    {"unsigned", "own servers", 0, "testing enforce sign tlsa"},
		"we-are-backup.test": {"unsigned", "a provider that lacks DANE", 1, "repair-hosts testing prepare enforce sign tlsa ask-provider"},
		"we-are-best.test":   {"unsigned", "own servers", 0, "testing enforce sign tlsa"},
	}
}

func TestAdviceInEachSituation(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	all := situations.All(situations.Groups())
	trials, err := situations.Build(t.Context(), inet, all)
	if err != nil {
		t.Fatal(err)
	}
	wanted := adviceBySituation()
	if len(wanted) != len(all) {
		t.Errorf("%d situations, and advice for %d", len(all), len(wanted))
	}
	situations.AtOnce(trials, func(s *situations.Trial) {
		stdout, stderr, code := runWith(t, inet, "-json", s.Recipient())
		var a Advice
		if err := json.Unmarshal([]byte(stdout), &a); err != nil {
			t.Errorf("%s: %v: %s%s", s.Domain, err, stdout, stderr)
			return
		}
		var kinds []string
		for _, step := range a.Steps {
			kinds = append(kinds, string(step.Kind))
		}
		got := want{a.DNSSEC, a.Hosting, len(a.Breaks), strings.Join(kinds, " ")}
		if got != wanted[s.Domain] {
			t.Errorf("%s (%s):\n got %v\nwant %v", s.Domain, s.Title, got, wanted[s.Domain])
		}
		status := exitNext
		switch {
		case s.Domain == "literal.test":
			status = exitDone
		case len(a.Has) == 0:
			status = exitNoMail
		}
		if code != status {
			t.Errorf("%s: exit status %d, want %d", s.Domain, code, status)
		}
	})
}

// protected adds a domain that has everything.
func protected(inet *policytest.Internet, name string) {
	d := inet.Domain(name).MX("mx." + name).Add("_smtp._tls TXT \"v=TLSRPTv1; rua=mailto:tls@" + name + "\"")
	d.Policy("enforce", "mx."+name)
	inet.Host("mx."+name, policytest.TLSA("3 1 1"))
}

func TestAdviceOfEachDomain(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	protected(inet, "done.test")
	inet.Domain("unsigned", policytest.Unsigned)
	inet.Domain("early.unsigned", policytest.Unsigned).MX("mx.early.unsigned")
	inet.Host("mx.early.unsigned")
	inet.Domain("hosted.test").MX("mx1.provider.test", "mx2.provider.test").Add("_smtp._tls TXT \"v=TLSRPTv1; rua=mailto:tls@hosted.test\"").
		Policy("testing", "*.provider.test")
	inet.Host("mx1.provider.test")
	inet.Host("mx2.provider.test", policytest.SelfSigned)
	inet.Domain("mixed.test").MX("mx.none.test", "mx.dane.test")
	inet.Host("mx.none.test")
	inet.Host("mx.dane.test", policytest.TLSA("3 1 1"))
	inet.Domain("old.test").MX("mx.old.test", "mx2.old.test")
	inet.Host("mx.old.test", policytest.MaxTLS(tls.VersionTLS11))
	matching := inet.Host("mx2.old.test", policytest.TLSA("3 1 1"))
	inet.Domain("alias.test").MX("mx.alias.test").Add("mx CNAME host")
	host := inet.Host("host.alias.test")
	const year = "version: STSv1\nmode: enforce\nmx: mx.year.test\nmax_age: 31557600\n"
	inet.Domain("year.test").MX("mx.year.test", "mx2.year.test").Policy("enforce", "mx.year.test").Publish(year)
	inet.Host("mx.year.test")
	inet.Host("mx2.year.test")
	inet.Domain("garbled.test").MX("mx.year.test").Policy("enforce", "mx.year.test").Publish("STSv1")
	for _, tt := range []struct {
		args string
		code int
		want []string // in this order
		not  []string
	}{
		{"done.test", exitDone, []string{"done.test: DNSSEC is in place; mail goes to own servers", "yes DNSSEC", "yes DANE", "yes MTA-STS: mode enforce, for 7 days",
			"yes TLS reports: they go to mailto:tls@done.test", "yes certificates", "As it enforces MTA-STS", "There is nothing left to do",
			"When a key changes"}, []string{"Next step", "  no "}},
		{"early.unsigned", exitNext, []string{"DNSSEC is not available, because the zone above is not signed", "Next step: Publish an MTA-STS policy in testing mode",
			"https://mta-sts.early.unsigned/.well-known/mta-sts.txt:\n    version: STSv1\n    mode: testing\n    mx: mx.early.unsigned\n    max_age: 86400\n",
			"  DNS:\n    _mta-sts.early.unsigned. IN TXT \"v=STSv1; id=20", "    _smtp._tls.early.unsigned. IN TXT \"v=TLSRPTv1; rua=mailto:tls-reports@early.unsigned\"\n",
			"2. Enforce the policy"}, []string{"Sign the zone", "TLSA records for"}},
		{"hosted.test", exitNext, []string{"mail goes to a provider that lacks DANE", "If it enforced", "mx2.provider.test at ", "would get no mail: x509:", "safe to enforce: not now",
			"Next step: Repair what an enforced policy would refuse", "2. Enforce", "3. Ask the provider for DANE"}, nil},
		{"hosted.test -all", exitNext, []string{"Step 2: Enforce", "    mode: enforce\n    mx: mx1.provider.test\n    mx: mx2.provider.test\n    max_age: 604800\n",
			"Only the provider can publish TLSA records for mx1.provider.test"}, nil},
		{"-all alias.test", exitNext, []string{"_25._tcp.host.alias.test. IN TLSA " + policytest.TLSARecord(host.Certificates()[0], "3 1 1") + "\n"}, nil},
		{"year.test", exitNext, []string{"    mode: enforce\n    mx: mx.year.test\n    mx: mx2.year.test\n    max_age: 31557600\n"}, nil},
		{"garbled.test", exitNext, []string{"Next step: Repair the MTA-STS policy", "If the earlier one was enforced, keep its mode", "    mode: testing\n"}, nil},
		{"mixed.test", exitNext, []string{"mail goes to a provider that lacks DANE", "without usable TLSA records: mx.none.test"}, nil},
		{"old.test -all", exitNext, []string{"mx.old.test at ", "would get no mail: it speaks TLS 1.1", "_25._tcp.mx.old.test. IN TLSA 3 1 1 "},
			[]string{policytest.TLSARecord(matching.Certificates()[0], "3 1 1")}},
		{"nowhere.test", exitNoMail, []string{"no such domain"}, []string{"Next step"}},
		{"[192.0.2.1]", exitDone, []string{"an address literal has no policies"}, nil},
		{"-h", exitDone, []string{"usage: mxseal advise"}, nil},
		{"", exitUsage, nil, nil},
		{"a.test b.test", exitUsage, nil, nil},
		{"-server dns.test a.test", exitUsage, nil, nil},
	} {
		stdout, stderr, code := runWith(t, inet, strings.Fields(tt.args)...)
		if code != tt.code {
			t.Errorf("%s: exit status %d, want %d: %s", tt.args, code, tt.code, stderr)
		}
		rest := stdout
		for _, want := range tt.want {
			_, after, found := strings.Cut(rest, want)
			if !found {
				t.Errorf("%s: no %q where it belongs:\n%s", tt.args, want, stdout)
				break
			}
			rest = after
		}
		for _, not := range tt.not {
			if strings.Contains(stdout, not) {
				t.Errorf("%s: has %q:\n%s", tt.args, not, stdout)
			}
		}
		for line := range strings.Lines(stdout) {
			if len(line) > width+1 && !strings.HasPrefix(line, "    ") {
				t.Errorf("%s: %d columns: %s", tt.args, len(line)-1, line)
			}
		}
	}
}

// A domain that follows the advice step by step is protected.
func TestFollowedAdviceProtects(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	d := inet.Domain("follows.test").MX("mx.follows.test")
	inet.Host("mx.follows.test")
	take := func(kind Kind) {
		t.Helper()
		stdout, _, _ := runWith(t, inet, "-json", "follows.test")
		var a Advice
		if err := json.Unmarshal([]byte(stdout), &a); err != nil {
			t.Fatal(err)
		}
		if len(a.Steps) == 0 || a.Steps[0].Kind != kind {
			t.Fatalf("want the step %s: %s", kind, stdout)
		}
		for _, p := range a.Steps[0].Publish {
			if p.Where != inDNS {
				d.Policy("none").Publish(strings.Join(p.Lines, "\n") + "\n")
				continue
			}
			for _, line := range p.Lines {
				record, err := dnssec.ParseRecord(line)
				if err != nil {
					t.Fatalf("%s: %v", line, err)
				}
				if !strings.HasPrefix(record.Name, "_mta-sts.") { // policytest has announced the policy
					d.Add(strings.TrimSuffix(record.Name, ".follows.test.") + " " + record.Type.String() + " " + record.Content())
				}
			}
		}
		inet.Advance(15 * 24 * time.Hour)
	}
	take(Testing)
	take(Enforce)
	take(PublishTLSA)
	if stdout, _, code := runWith(t, inet, "follows.test"); code != exitDone {
		t.Errorf("exit status %d:\n%s", code, stdout)
	}
}

// The id of a policy often begins with a date.
func TestPublishedDateFromID(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for id, want := range map[string]string{
		"20260210T000000": "2026-02-10", "20260210": "2026-02-10", "1": "", "20270101": "", "19990101": "", "abcdefgh": "", "20261399": "",
	} {
		at, known := published(id, now)
		if got := at.Format(time.DateOnly); known != (want != "") || known && got != want {
			t.Errorf("%s: %s, %v", id, got, known)
		}
	}
}
