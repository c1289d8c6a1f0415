package reporter_test

import (
	"context"
	"fmt"
	"iter"
	"net/http"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxseal/mxseal/internal/test/testpki"
	"github.com/mxseal/mxseal/tlsrpt"
	"github.com/mxseal/mxseal/tlsrpt/report"
	"github.com/mxseal/mxseal/tlsrpt/reporter"
)

// inWorld runs a test in a synctest bubble.
func inWorld(t *testing.T, test func(t *testing.T, w *world)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { test(t, newWorld(t)) })
}

// wait lets time pass in the bubble.
func wait(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// The reports of a day are sent within four hours after it (RPT-27, RPT-28), to
// both kinds of endpoints (RPT-1, RPT-12, RPT-14, field note 62), even if there were
// no failures (RPT-29). Then the sums are deleted.
func TestReportsOfDayAreSentAndDeleted(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.txt["example.com"] = []string{bothTXT}
		w.txt["fine.example"] = []string{"other", mailTXT}
		w.count("example.com", today, missed(stsPolicy, selfSigned), met(danePolicy))
		w.count("fine.example", today, met(noPolicy))
		w.count("silent.example", today, met(noPolicy))
		w.count("example.com", today+1, met(noPolicy))
		w.start(w.config())
		wait(2*time.Minute - 1)
		if w.lookups() > 0 {
			t.Errorf("asked for %d records before all sessions were counted", w.lookups())
		}
		wait(allStarted - 2*time.Minute + 1)
		if len(w.posts()) != 1 || len(w.mails()) != 2 {
			t.Fatalf("%d reports posted, %d mailed; log:\n%s", len(w.posts()), len(w.mails()), w.log.String())
		}
		posted := w.posts()[0]
		if posted.to != "https://reports.example/v1" || posted.dialed != publicAddr+":443" ||
			posted.header.Get("Content-Type") != "application/tlsrpt+gzip" || posted.header.Get("Content-Encoding") != "" {
			t.Errorf("posted to %q at %q with %q", posted.to, posted.dialed, posted.header) // RPT-78
		}
		if posted.octets[0] != 0x1f {
			t.Error("not compressed") // RPT-69
		}
		rep := posted.report
		if rep.ID != w.id("20260301.example.com") || rep.Contact != "tls-reports@sender.example" ||
			rep.Organization != "Sender" || rep.Dates != (report.DateRange{Start: today.Start(), End: today.End()}) {
			t.Errorf("report %+v", rep)
		}
		if len(rep.Policies) != 2 || rep.Policies[0].Summary.Failures != 1 || rep.Policies[1].Summary.Successes != 1 {
			t.Errorf("policies %+v", rep.Policies)
		}
		for _, m := range w.mails() {
			if m.to != "tls@example.com" {
				t.Errorf("mailed to %q", m.to)
			}
		}
		for _, domain := range []string{"example.com", "fine.example", "silent.example"} {
			if sums := w.left(domain, today); sums != nil {
				t.Errorf("left of %s: %+v", domain, sums)
			}
		}
		if w.left("example.com", today+1) == nil {
			t.Error("the sums of the new day are gone")
		}
		wait(24 * time.Hour)
		if len(w.posts()) != 2 || w.posts()[1].report.ID != w.id("20260302.example.com") {
			t.Errorf("%d reports posted after two days", len(w.posts()))
		}
	})
}

// A domain without a usable record gets no report, neither now nor later
// (RPT-3, RPT-6).
func TestNoReportWithoutRecord(t *testing.T) {
	for clause, txts := range map[string][]string{
		"RPT-3 none": {"v=spf1"}, "RPT-3 two": {postTXT, mailTXT}, "RPT-6 broken": {"v=TLSRPTv1; rua="},
	} {
		t.Run(clause, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.txt["example.com"] = txts
				w.count("example.com", today, met(noPolicy))
				w.start(w.config())
				wait(24 * time.Hour)
				if len(w.posts())+len(w.mails()) > 0 || w.left("example.com", today) != nil || w.lookups() != 1 {
					t.Errorf("%d posted, %d mailed, %d lookups, left %+v", len(w.posts()), len(w.mails()), w.lookups(), w.left("example.com", today))
				}
			})
		})
	}
}

// RPT-21, field note 57: while DNS fails, a report is delayed at growing
// intervals, and its sums are kept as long as the day can be reported.
func TestFailedDNSDelaysReport(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.txtErr = errTemporary
		w.count("example.com", today, met(noPolicy))
		w.start(w.config())
		wait(40 * time.Hour)
		if w.left("example.com", today) == nil {
			t.Fatal("the sums are gone")
		}
		if w.lookups() > 16 {
			t.Errorf("%d lookups in 40 hours", w.lookups())
		}
		w.set(func() { w.txtErr = nil })
		wait(allStarted)
		if len(w.posts()) != 1 || w.left("example.com", today) != nil {
			t.Errorf("%d reports after DNS worked again", len(w.posts()))
		}
	})
}

// The sums of a day that is too old are deleted without a report.
func TestSumsOfOldDaysAreDeleted(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.txtErr = errTemporary
		w.count("example.com", today, met(noPolicy))
		w.start(w.config())
		wait(7*24*time.Hour - time.Minute)
		if w.left("example.com", today) == nil {
			t.Fatal("the sums are gone before a week is over")
		}
		wait(time.Hour)
		if w.left("example.com", today) != nil {
			t.Error("the sums were not deleted")
		}
	})
}

// RPT-13, RPT-76, RPT-79, RPT-80, RPT-81: a report that is not accepted is sent again
// at growing intervals for 24 hours, always with the same names.
func TestRefusedReportIsSentAgain(t *testing.T) {
	for _, status := range []int{301, 400, 404, 429, 503} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.set(func() { w.status = status })
				w.count("example.com", today, met(noPolicy))
				w.start(w.config())
				wait(30 * time.Hour)
				var waits []time.Duration
				for i, d := range w.posts()[1:] {
					waits = append(waits, (d.after - w.posts()[i].after).Round(time.Minute))
					if d.report.ID != w.posts()[0].report.ID {
						t.Errorf("report-id %q after %q", d.report.ID, w.posts()[0].report.ID)
					}
				}
				const m, h = time.Minute, time.Hour
				want := []time.Duration{10 * m, 20 * m, 40 * m, 80 * m, 160 * m, 4 * h, 4 * h, 4 * h, 4 * h}
				if !slices.Equal(waits, want) {
					t.Errorf("waited %v, want %v", waits, want)
				}
				if w.left("example.com", today) != nil || !strings.Contains(w.log.String(), "given up") {
					t.Errorf("not given up:\n%s", w.log.String())
				}
			})
		})
	}
}

// RPT-13: one endpoint that accepts the report is sufficient.
func TestOneEndpointIsEnough(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.txt["example.com"] = []string{bothTXT}
		w.set(func() { w.status = 500 })
		w.count("example.com", today, met(noPolicy))
		w.start(w.config())
		wait(24 * time.Hour)
		if len(w.posts()) != 1 || len(w.mails()) != 1 || w.left("example.com", today) != nil {
			t.Errorf("%d posted, %d mailed", len(w.posts()), len(w.mails()))
		}
	})
}

// A report that was not accepted before a restart is sent after it. Seven missed
// days are reported after a longer interruption.
func TestReportsAreSentAfterRestart(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		for _, d := range []report.Day{today - 7, today - 6, today} {
			w.count("example.com", d, met(noPolicy))
		}
		w.set(func() { w.status = 500 })
		time.Sleep(5 * time.Hour)
		stop := w.startFor(w.config())
		wait(time.Minute)
		if len(w.posts()) != 2 {
			t.Fatalf("%d reports tried at once", len(w.posts()))
		}
		stop()
		w.set(func() { w.status = 200 })
		w.start(w.config())
		wait(time.Minute)
		var ids []string
		for _, d := range w.posts()[2:] {
			ids = append(ids, d.report.ID)
		}
		slices.Sort(ids)
		if !slices.Equal(ids, []string{w.id("20260223.example.com"), w.id("20260301.example.com")}) {
			t.Errorf("reports %q", ids)
		}
		wait(20 * time.Minute) // the clock is read again, for the Reporter and for the Store
		if w.left("example.com", today-7) != nil {
			t.Error("the sums of the eighth day were not deleted")
		}
	})
}

// RPT-76: a Reporter that ends between two endpoints of a report begins again with the first
// one. The ID is the same, so that endpoint can ignore the report.
func TestInterruptedReportBeginsAgain(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.txt["example.com"] = []string{bothTXT}
		w.count("example.com", today, met(noPolicy))
		config, mailing := w.config(), make(chan struct{})
		config.Mailer = reporter.MailerFunc(func(ctx context.Context, _ string, _ []string, _ []byte) error {
			close(mailing)
			<-ctx.Done()
			return ctx.Err()
		})
		stop := w.startFor(config)
		<-mailing
		stop()
		if len(w.posts()) != 1 || w.left("example.com", today) == nil {
			t.Fatalf("%d posted before the end, %v left", len(w.posts()), w.left("example.com", today))
		}
		w.count("example.com", today, met(noPolicy)) // belongs to the next report
		w.start(w.config())
		wait(24 * time.Hour)
		posts, mails := w.posts(), w.mails()
		if len(posts) != 3 || len(mails) != 2 || w.left("example.com", today) != nil {
			t.Fatalf("%d posted, %d mailed, %v left", len(posts), len(mails), w.left("example.com", today))
		}
		if !reflect.DeepEqual(posts[1].report, posts[0].report) || !reflect.DeepEqual(mails[0].report, posts[0].report) {
			t.Errorf("%+v again, and %+v by mail, after %+v", posts[1].report, mails[0].report, posts[0].report)
		}
		if posts[2].report.ID == posts[0].report.ID || mails[1].report.ID != posts[2].report.ID {
			t.Errorf("the next report has the ID %s, and by mail %s, after %s", posts[2].report.ID, mails[1].report.ID, posts[0].report.ID)
		}
	})
}

// RPT-82: an endpoint cannot direct reports into the sender's network. The
// address that is dialed is checked.
func TestSpecialAddressesGetNoReport(t *testing.T) {
	for _, addr := range []string{"127.0.0.1", "::1", "10.0.0.1", "169.254.169.254", "fe80::1", "::ffff:192.168.0.1", "64:ff9b::a00:1", "224.0.0.1"} {
		t.Run(addr, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.addrs = []netip.Addr{netip.MustParseAddr(addr)}
				w.txt["literal.example"] = []string{"v=TLSRPTv1; rua=https://" + inURL(addr) + "/"}
				w.count("example.com", today, met(noPolicy))
				w.count("literal.example", today, met(noPolicy))
				config := w.config()
				stop := w.startFor(config)
				wait(5 * time.Hour)
				if len(w.posts()) != 0 || !strings.Contains(w.log.String(), "special-purpose address") {
					t.Errorf("%d reports posted; log:\n%s", len(w.posts()), w.log.String())
				}
				stop()
				config.AllowEndpoint = func(a netip.Addr) bool { return a == w.addrs[0].Unmap() }
				w.start(config)
				wait(time.Minute)
				if len(w.posts()) != 1 { // the certificate is only for reports.example
					t.Errorf("%d reports posted when allowed", len(w.posts()))
				}
			})
		})
	}
}

func inURL(addr string) string {
	if strings.Contains(addr, ":") {
		return "[" + addr + "]"
	}
	return addr
}

// RPT-15: the certificate of an endpoint is verified, unless configured
// otherwise.
func TestCertificateOfEndpointIsVerified(t *testing.T) {
	for name, ignore := range map[string]bool{"by default": false, "ignored": true} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.cert = testpki.SelfSigned(t, []string{"reports.example"})
				w.count("example.com", today, met(noPolicy))
				config := w.config()
				config.IgnoreCertificates = ignore
				w.start(config)
				wait(allStarted)
				if got := len(w.posts()) > 0; got != ignore {
					t.Errorf("posted: %v; log:\n%s", got, w.log.String())
				}
			})
		})
	}
}

// Without Mailer and Signer, domains with only mail endpoints get no reports.
func TestMailEndpointsNeedMailer(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.txt["example.com"] = []string{mailTXT}
		w.txt["both.example"] = []string{bothTXT}
		w.count("example.com", today, met(noPolicy))
		w.count("both.example", today, met(noPolicy))
		config := w.config()
		config.Mailer, config.Signer = nil, nil
		w.start(config)
		wait(allStarted)
		if len(w.posts()) != 1 || len(w.mails()) != 0 || w.left("example.com", today) != nil {
			t.Errorf("%d posted, %d mailed", len(w.posts()), len(w.mails()))
		}
	})
}

// RPT-82: reports of many domains to the same endpoint are sent at intervals.
func TestReportsToOneEndpointAreApart(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		const domains = 50
		for i := range domains {
			domain := fmt.Sprintf("d%d.example", i)
			w.txt[domain] = []string{postTXT}
			w.count(domain, today, met(noPolicy))
		}
		config := w.config()
		config.EndpointInterval = time.Minute
		w.start(config)
		wait(6 * time.Hour)
		if len(w.posts()) != domains {
			t.Fatalf("%d reports posted; log:\n%s", len(w.posts()), w.log.String())
		}
		for i := range w.posts()[1:] {
			if apart := w.posts()[i+1].after - w.posts()[i].after; apart < 58*time.Second {
				t.Errorf("reports %v apart", apart)
			}
		}
		if w.lookups() > 2*domains {
			t.Errorf("%d lookups", w.lookups())
		}
	})
}

func TestIntervalKeepsReportsApart(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		for i := range 20 {
			domain := fmt.Sprintf("d%d.example", i)
			w.txt[domain] = []string{fmt.Sprintf("v=TLSRPTv1; rua=mailto:tls@host%d.example", i)}
			w.count(domain, today, met(noPolicy))
		}
		config := w.config()
		config.Interval = 10 * time.Second
		w.start(config)
		wait(5 * time.Hour)
		for i := range w.mails()[1:] {
			if apart := w.mails()[i+1].after - w.mails()[i].after; apart < 10*time.Second {
				t.Errorf("reports %v apart", apart)
			}
		}
		if len(w.mails()) != 20 {
			t.Errorf("%d reports mailed", len(w.mails()))
		}
	})
}

// Endpoints that do not answer delay only their own domains.
func TestSlowEndpointsDelayOnlyTheirOwn(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		for i := range 400 {
			domain := fmt.Sprintf("d%d.example", i)
			w.txt[domain] = []string{fmt.Sprintf("v=TLSRPTv1; rua=mailto:tls@slow%d.example", i)}
			w.count(domain, today, met(noPolicy))
		}
		config := w.config()
		config.Mailer = reporter.MailerFunc(func(ctx context.Context, from string, to []string, message []byte) error {
			if strings.Contains(to[0], "@slow") {
				<-ctx.Done()
				return ctx.Err()
			}
			return w.sendMail(ctx, from, to, message)
		})
		w.start(config)
		wait(allStarted + 5*time.Hour) // all were tried once
		for i := range 5 {
			domain := fmt.Sprintf("late%d.example", i)
			w.set(func() { w.txt[domain] = []string{mailTXT} })
			w.count(domain, today, met(noPolicy))
			wait(time.Hour)
			if len(w.mails()) != i+1 {
				t.Fatalf("%d reports after %d hours", len(w.mails()), i+1)
			}
		}
	})
}

// The store can fail at any time. Its sums are reported when it works again.
func TestFailingStoreLosesNoReport(t *testing.T) {
	for _, method := range []string{"DeleteBefore", "Domains", "Sums", "Seal", "Delete", "Lease"} {
		t.Run(method, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				store := &brokenStore{MemoryStore: &w.store, method: method, until: w.began.Add(5 * time.Hour)}
				w.count("example.com", today, met(noPolicy))
				config := w.config()
				config.Store = store
				w.start(config)
				wait(9 * time.Hour)
				if len(w.posts()) != 1 || w.left("example.com", today) != nil {
					t.Errorf("%d reports; log:\n%s", len(w.posts()), w.log.String())
				}
				if !strings.Contains(w.log.String(), "disk full") {
					t.Errorf("nothing in the log:\n%s", w.log.String())
				}
			})
		})
	}
}

// Reporters that share a store send each report once.
func TestReportersThatShareStoreSendOnce(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		for i := range 30 {
			domain := fmt.Sprintf("d%d.example", i)
			w.txt[domain] = []string{postTXT}
			w.count(domain, today, met(noPolicy))
		}
		config := w.config()
		time.Sleep(5 * time.Hour) // so that all begin at the same time
		for range 3 {
			w.start(config)
		}
		wait(24 * time.Hour)
		seen := make(map[string]bool)
		for _, d := range w.posts() {
			if seen[d.report.ID] {
				t.Errorf("report %q twice", d.report.ID)
			}
			seen[d.report.ID] = true
		}
		if len(seen) != 30 {
			t.Errorf("%d reports", len(seen))
		}
	})
}

// Reporters that do not share a store send reports with different names.
func TestInstancesHaveDifferentNames(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.txt["example.com"] = []string{mailTXT}
		w.count("example.com", today, met(noPolicy))
		config := w.config()
		config.Instance = "mta7"
		w.start(config)
		wait(allStarted)
		if len(w.mails()) != 1 || w.mails()[0].report.ID != "20260301.example.com.mta7@sender.example" ||
			!strings.Contains(string(w.mails()[0].octets), "!1772409599!mta7.json.gz\"") {
			t.Errorf("mailed %s", w.mails()[0].octets)
		}
	})
}

func TestNewRefusesUnusableConfigs(t *testing.T) {
	t.Parallel()
	good := func() reporter.Config {
		return reporter.Config{Store: new(reporter.MemoryStore), Organization: "Sender", Contact: "tls@sender.example"}
	}
	if _, err := reporter.New(good()); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*reporter.Config){
		"no store":         func(c *reporter.Config) { c.Store = nil },
		"no organization":  func(c *reporter.Config) { c.Organization = "" },
		"RPT-33 contact":   func(c *reporter.Config) { c.Contact = "sender.example" },
		"RPT-67 U-labels":  func(c *reporter.Config) { c.Contact = "tls@grün.example" },
		"RPT-66 unique-id": func(c *reporter.Config) { c.Instance = "mta-7" },
		"RPT-66 not ASCII": func(c *reporter.Config) { c.Instance = "\u0161" },
		"RPT-18 no signer": func(c *reporter.Config) { c.Mailer = reporter.MailerFunc(nil) },
		"signer alone":     func(c *reporter.Config) { c.Signer = reporter.SignerFunc(sign) },
		"small size":       func(c *reporter.Config) { c.MaxSize = 1000 },
		"interval":         func(c *reporter.Config) { c.Interval = -1 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config := good()
			change(&config)
			if _, err := reporter.New(config); err == nil {
				t.Error("no error")
			}
		})
	}
}

func TestPreviewSendsNothing(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.count("example.com", today, missed(stsPolicy, selfSigned))
		r, err := reporter.New(w.config())
		if err != nil {
			t.Fatal(err)
		}
		rep, err := r.Preview(t.Context(), "Example.COM.", today)
		if err != nil || rep == nil {
			t.Fatalf("%+v, %v", rep, err)
		}
		marshal(t, rep)
		if rep.ID != w.id("20260301.example.com") || rep.Policies[0].Summary.Failures != 1 {
			t.Errorf("report %+v", rep)
		}
		if rep, err := r.Preview(t.Context(), "other.example", today); rep != nil || err != nil {
			t.Errorf("nothing to report: %+v, %v", rep, err)
		}
		if _, err := r.Preview(t.Context(), "no domain", today); err == nil {
			t.Error("no error")
		}
		if w.lookups()+len(w.posts())+len(w.mails()) > 0 || w.left("example.com", today) == nil {
			t.Error("a preview did something")
		}
	})
}

// Invalid sums in a store still produce a valid report.
func TestInvalidSumsMakeValidReport(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		odd := tlsrpt.Policy{Type: "odd", Domain: "grün.example", Strings: []string{"x"}, MXHosts: []string{"x y"}}
		sums := []report.PolicyResult{
			{Policy: odd, Summary: report.Summary{Failures: 1}, Details: []report.Detail{
				{Type: "odd", Sessions: 5, Info: "x y", MXHost: "\n"}, {Type: tlsrpt.TLSAInvalid},
			}},
			{Policy: odd, Summary: report.Summary{Successes: 2}},
		}
		config := w.config()
		config.Store = uniformStore{&w.store, sums}
		r, err := reporter.New(config)
		if err != nil {
			t.Fatal(err)
		}
		rep, err := r.Preview(t.Context(), "example.com", today)
		if err != nil {
			t.Fatal(err)
		}
		marshal(t, rep)
		want := []report.PolicyResult{{
			Policy:  tlsrpt.Policy{Type: tlsrpt.NoPolicyFound, Domain: "xn--grn-ioa.example"},
			Summary: report.Summary{Successes: 2, Failures: 1},
			Details: []report.Detail{{Type: tlsrpt.ValidationFailure, Sessions: 1, MXHost: "?"}},
		}}
		if !reflect.DeepEqual(rep.Policies, want) {
			t.Errorf("got %+v", rep.Policies)
		}
	})
}

// A report that is too large is reduced by summing up the rarest failures. The
// totals remain.
func TestLargeReportIsReduced(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		const maxSize = 256 << 10
		a := newAggregator(t, reporter.AggregatorConfig{Store: &w.store})
		var failures int64
		for i := range 900 {
			s := session(missed(stsPolicy, selfSigned))
			s.HELO = fmt.Sprintf("%d.%s", i, strings.Repeat("x", 250))
			for range 1 + i%3 {
				a.Record(s)
				failures++
			}
		}
		if err := a.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		config := w.config()
		config.MaxSize = maxSize
		r, err := reporter.New(config)
		if err != nil {
			t.Fatal(err)
		}
		rep, err := r.Preview(t.Context(), "example.com", today)
		if err != nil {
			t.Fatal(err)
		}
		if text := marshal(t, rep); len(text) > maxSize || len(text) < maxSize*9/10 {
			t.Errorf("%d octets", len(text))
		}
		result := rep.Policies[0]
		var listed int64
		for i, d := range result.Details {
			listed += d.Sessions
			if i == 0 && (d.ReasonCode != reporter.DetailsOmitted || d.HELO != "") {
				t.Errorf("first is %+v", d)
			}
			if i > 0 && d.Sessions == 1 {
				t.Errorf("one of the rarest failures is listed: %+v", d)
			}
		}
		if result.Summary.Failures != failures || listed != failures {
			t.Errorf("%d failures, %d in details, of %d", result.Summary.Failures, listed, failures)
		}
	})
}

// brokenStore returns errors from one method for some time.
type brokenStore struct {
	*reporter.MemoryStore
	method string
	until  time.Time
}

func (b *brokenStore) fails(method string) error {
	if method == b.method && time.Now().Before(b.until) {
		return fmt.Errorf("disk full")
	}
	return nil
}

func (b *brokenStore) Sums(ctx context.Context, day report.Day, domain string) (reporter.Part, error) {
	if err := b.fails("Sums"); err != nil {
		return reporter.Part{}, err
	}
	return b.MemoryStore.Sums(ctx, day, domain)
}

func (b *brokenStore) Seal(ctx context.Context, day report.Day, domain string) (int, error) {
	if err := b.fails("Seal"); err != nil {
		return 0, err
	}
	return b.MemoryStore.Seal(ctx, day, domain)
}

func (b *brokenStore) Domains(ctx context.Context, day report.Day) iter.Seq2[string, error] {
	if err := b.fails("Domains"); err != nil {
		return func(yield func(string, error) bool) { yield("", err) }
	}
	return b.MemoryStore.Domains(ctx, day)
}

func (b *brokenStore) Delete(ctx context.Context, day report.Day, domain string, number int) error {
	if err := b.fails("Delete"); err != nil {
		return err
	}
	return b.MemoryStore.Delete(ctx, day, domain, number)
}

func (b *brokenStore) DeleteBefore(ctx context.Context, day report.Day) error {
	if err := b.fails("DeleteBefore"); err != nil {
		return err
	}
	return b.MemoryStore.DeleteBefore(ctx, day)
}

func (b *brokenStore) Lease(ctx context.Context, day report.Day, domain string, d time.Duration) (func(), bool, error) {
	if err := b.fails("Lease"); err != nil {
		return nil, false, err
	}
	return b.MemoryStore.Lease(ctx, day, domain, d)
}

// Attempted is called for each attempt at each endpoint, with its result.
func TestAttemptedHearsEachAttempt(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.txt["example.com"] = []string{bothTXT}
		w.count("example.com", today, met(noPolicy))
		w.status = http.StatusInternalServerError
		w.mail = errTemporary
		var mu sync.Mutex
		results := map[string][]bool{}
		config := w.config()
		config.Attempted = func(endpoint tlsrpt.Endpoint, err error) {
			mu.Lock()
			defer mu.Unlock()
			results[endpoint.String()] = append(results[endpoint.String()], err == nil)
		}
		w.start(config)
		wait(allStarted)
		w.set(func() { w.status = http.StatusCreated })
		wait(24 * time.Hour)
		mu.Lock()
		defer mu.Unlock()
		posts, mails := results["https://reports.example/v1"], results["mailto:tls@example.com"]
		if len(posts) < 2 || slices.Index(posts, true) != len(posts)-1 || len(posts) != len(w.posts()) {
			t.Errorf("by https: %v", posts)
		}
		if len(mails) != len(posts) || slices.Contains(mails, true) || len(mails) != len(w.mails()) {
			t.Errorf("by mail: %v", mails)
		}
	})
}
