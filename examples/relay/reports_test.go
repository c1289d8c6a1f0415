package main

import (
	"strings"
	"testing"

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
func TestReports(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	mx := stsDomain(w, "stripped.test")
	mx.Break(policytest.NoSTARTTLS)
	w.Domain("_smtp._tls.stripped.test", policytest.Unsigned).Add(`@ TXT "v=TLSRPTv1; rua=mailto:tls@stripped.test"`)
	key := keyFile(t, newEd25519(t))
	args := []string{"-contact", "tls-reports@sender.test", "-organization", "Sender", "-dkim-key", key}

	today := report.DayOf(w.Now())
	relay := w.start(t, args...)
	for range 3 {
		if err := relay.send("you@stripped.test", greeting); err == nil {
			t.Error("sent in clear")
		}
	}
	relay.end(t)
	w.tomorrow()
	relay = w.start(t, args...)
	// A relay that ends before the reply to the message cannot know that it was accepted,
	// and reports again.
	await.Until(t, "the report", func() bool { return strings.Contains(relay.log.String(), "report delivered") })
	relay.end(t)
	w.tomorrow()
	relay = w.start(t, args...)
	if err := relay.send("you@stripped.test", greeting); err == nil {
		t.Error("sent in clear")
	}
	relay.end(t)
	w.tomorrow()
	w.start(t, args...)
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
		if checks := verify(t, messages[i].Data, key); len(checks) != 1 || checks[0].Err != nil || checks[0].Domain != "sender.test" {
			t.Errorf("signatures %+v", checks)
		}
	}
}
