package reporting

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/emersion/go-msgauth/dkim"

	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/internal/test/await"
	"github.com/mxseal/mxseal/internal/test/reporttest"
	"github.com/mxseal/mxseal/policy/policytest"
	"github.com/mxseal/mxseal/tlsrpt"
	"github.com/mxseal/mxseal/tlsrpt/report"
)

// stsDomain adds a domain with MTA-STS and its mail host.
func stsDomain(w *world, name string) *policytest.Host {
	w.Domain(name, policytest.Unsigned).MX("mx."+name).Policy("enforce", "mx."+name)
	return w.Host("mx." + name)
}

// hidePolicy acts as an attacker on the path who hides a policy and strips
// STARTTLS.
func hidePolicy(w *world, name string, mx *policytest.Host) {
	w.BreakDNS(policytest.Forge(), "_mta-sts."+name, dnssec.TypeTXT)
	mx.Break(policytest.NoSTARTTLS)
}

// RPT-16 to RPT-18 and RPT-83: the sessions with a domain are reported to it on
// the next day. The report is sent by signed mail, is delivered although TLS is
// still broken, and is not itself counted.
func TestReportsAreSentOnNextDay(t *testing.T) {
	t.Parallel()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, key)
	_, record := w.dkimRecord(t)
	mx := stsDomain(w, "stripped.test")
	mx.Break(policytest.NoSTARTTLS)
	w.Domain("_smtp._tls.stripped.test", policytest.Unsigned).Add(`@ TXT "v=TLSRPTv1; rua=mailto:tls@stripped.test"`)

	today := report.DayOf(w.Now())
	relay := w.start(t)
	for range 3 {
		if err := relay.send("you@stripped.test"); err == nil {
			t.Error("sent in clear")
		}
	}
	relay.end(t)
	w.tomorrow()
	relay = w.start(t)
	// A relay that ends before the reply to the message cannot know that it was accepted,
	// and reports again.
	await.Until(t, "the report", func() bool { return strings.Contains(relay.log.String(), "report delivered") })
	relay.end(t)
	w.tomorrow()
	relay = w.start(t)
	if err := relay.send("you@stripped.test"); err == nil {
		t.Error("sent in clear")
	}
	relay.end(t)
	w.tomorrow()
	w.start(t)
	await.Until(t, "the next report", func() bool { return len(mx.Messages()) > 1 })

	messages := mx.Messages()
	if m := messages[0]; m.Session.TLS != nil || m.From != "tls-reports@sender.test" || strings.Join(m.To, " ") != "tls@stripped.test" {
		t.Errorf("%+v", m)
	}
	for i, want := range []struct {
		day      report.Day
		failures int64
	}{{today, 3}, {today + 2, 1}} {
		rep, err := reporttest.Mailed(messages[i].Data)
		if err != nil {
			t.Fatal(err)
		}
		if !rep.Dates.Start.Equal(want.day.Start()) || len(rep.Policies) != 1 || rep.Policies[0].Summary.Failures != want.failures ||
			rep.Policies[0].Details[0].Type != tlsrpt.STARTTLSNotSupported {
			t.Errorf("%+v, want %+v", rep, want)
		}
		if checks := verify(t, messages[i].Data, record); len(checks) != 1 || checks[0].Err != nil || checks[0].Domain != "sender.test" {
			t.Errorf("signatures %+v", checks)
		}
	}
}

// RPT mail: what the operator demands of other mail does not hold up a report: the domain would
// not get the one that tells what is wrong (RFC 8460 section 3).
func TestFloorDoesNotHoldUpReports(t *testing.T) {
	t.Parallel()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, key)
	text, err := os.ReadFile(w.file)
	if err != nil {
		t.Fatal(err)
	}
	w.write(t, w.file, string(text)+"[policy]\nfloor = 'authenticated'\n[domain.'floor.test']\nrequire-dane = true\n")
	mx := stsDomain(w, "floor.test")
	mx.Break(policytest.NoSTARTTLS)
	w.Domain("_smtp._tls.floor.test", policytest.Unsigned).Add(`@ TXT "v=TLSRPTv1; rua=mailto:tls@floor.test"`)
	relay := w.start(t)
	if err := relay.send("you@floor.test"); err == nil {
		t.Error("sent in clear")
	}
	relay.end(t)
	w.tomorrow()
	relay = w.start(t)
	await.Until(t, "an attempt", func() bool {
		return strings.Contains(relay.log.String(), "report delivered") || strings.Contains(relay.log.String(), "report not accepted")
	})
	if got := len(mx.Messages()); got != 1 {
		t.Errorf("%d reports have arrived", got)
	}
}

// verify verifies the signatures of a message with the DNS record of a key.
func verify(t *testing.T, message []byte, record string) []*dkim.Verification {
	t.Helper()
	checks, err := dkim.VerifyWithOptions(bytes.NewReader(message), &dkim.VerifyOptions{
		LookupTXT: func(string) ([]string, error) {
			// The library accepts only the service type "email".
			return []string{strings.Replace(record, "s=tlsrpt", "s=email", 1)}, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return checks
}

// MTA-STS policies in the file survive a restart of the daemon. A policy that was seen before protects the mail of the
// relay although DNS replies are forged.
func TestStoreOutlivesTheDaemon(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	mx := stsDomain(w, "sts.test")
	first := w.start(t)
	if err := first.send("you@sts.test"); err != nil {
		t.Fatal(err)
	}
	first.end(t)
	hidePolicy(w, "sts.test", mx)
	second := w.start(t)
	if err := second.send("you@sts.test"); err == nil {
		t.Error("sent in clear")
	}
	second.end(t)
	// Without the file, nothing shows that there is a policy.
	if err := os.Remove(filepath.Join(filepath.Dir(w.file), "state.db")); err != nil {
		t.Fatal(err)
	}
	if err := w.start(t).send("you@sts.test"); err != nil {
		t.Errorf("without the policy: %v", err)
	}
}
