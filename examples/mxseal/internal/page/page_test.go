package page

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/examples/mxseal/internal/cli"
	"github.com/mxseal/mxseal/examples/mxseal/internal/survey"
	"github.com/mxseal/mxseal/policy/policytest"
)

// surveyed returns what a survey finds about a domain.
func surveyed(t *testing.T, inet *policytest.Internet, domain string) *survey.Result {
	t.Helper()
	sender, err := new(cli.Network).Open(&cli.Env{DNS: inet.DNSConfig(), Policy: inet.Config()})
	if err != nil {
		t.Fatal(err)
	}
	defer sender.Close()
	s := &survey.Surveyor{Sender: sender, Connect: true, Timeout: time.Minute}
	return s.Survey(t.Context(), domain)
}

// The links of the chains have the state that the survey has found.
func TestChainsShowStateOfSurvey(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	inet.Domain("dane.test").MX("mx.dane.test")
	inet.Host("mx.dane.test", policytest.TLSA("3 1 1"))
	inet.Domain("wrong.test").MX("mx.wrong.test")
	inet.Host("mx.wrong.test", policytest.TLSA("3 1 1")).Break(policytest.OtherKey)
	inet.Domain("sts.test", policytest.Unsigned).MX("mx.sts.test").Policy("enforce", "*.sts.test")
	inet.Host("mx.sts.test")
	inet.Domain("testing.test", policytest.Unsigned).MX("mx.testing.test").Policy("testing", "other.test")
	inet.Host("mx.testing.test", policytest.SelfSigned)
	inet.Domain("clear.test").MX("mx.clear.test")
	inet.Host("mx.clear.test", policytest.NoSTARTTLS, policytest.TLSA("1 1 1"))
	inet.Domain("blocked.test").MX("mx.dane.test").Policy("enforce", "mx.dane.test").Break(policytest.Refuse)
	inet.Domain("lost.test").MX("mx.lost.test")
	inet.Host("mx.lost.test", policytest.TLSA("3 1 1"))
	inet.BreakDNS(policytest.ServFail, "mx.lost.test", dnssec.TypeA, dnssec.TypeAAAA)
	inet.Domain("a.b.c.d.e.f.g.h.deep.test").MX("mx.dane.test")
	inet.Domain("half.test").MX("mx.half.test")
	inet.Host("mx.half.test", policytest.TLSA("3 1 1"), policytest.Addrs("192.0.2.201", "192.0.2.202"), policytest.InTurn(policytest.OtherKey, policytest.NoFault))
	for domain, want := range map[string]string{
		"half.test":    "root of DNS=ok test=ok half.test=ok MX=ok A, AAAA=ok TLSA=ok certificate=failed",
		"dane.test":    "root of DNS=ok test=ok dane.test=ok MX=ok A, AAAA=ok TLSA=ok certificate=ok",
		"wrong.test":   "root of DNS=ok test=ok wrong.test=ok MX=ok A, AAAA=ok TLSA=ok certificate=failed",
		"sts.test":     "root of DNS=ok test=ok sts.test=open MX=open A, AAAA=open TLSA=open certificate=open | mta-sts.sts.test=ok policy=ok mx pattern=ok certificate=ok",
		"testing.test": "root of DNS=ok test=ok testing.test=open MX=open A, AAAA=open TLSA=open certificate=open | mta-sts.testing.test=ok policy=open mx pattern=failed certificate=failed",
		"clear.test":   "root of DNS=ok test=ok clear.test=ok MX=ok A, AAAA=ok TLSA=failed certificate=failed",
		"blocked.test": "root of DNS=ok test=ok blocked.test=ok MX=ok A, AAAA=ok TLSA=ok certificate=ok | mta-sts.blocked.test=failed",
		"lost.test":    "root of DNS=ok test=ok lost.test=ok MX=ok A, AAAA=failed TLSA=failed certificate=not tested",
		"a.b.c.d.e.f.g.h.deep.test": "root of DNS=ok test=ok b.c.d.e.f.g.h.deep.test=ok a.b.c.d.e.f.g.h.deep.test=ok " +
			"MX=ok A, AAAA=ok TLSA=ok certificate=ok",
		"[192.0.2.1]": "",
	} {
		var got []string
		r := surveyed(t, inet, domain)
		slices.SortFunc(r.Sessions, func(a, b *survey.Session) int { return strings.Compare(b.Error, a.Error) }) // failures first
		for _, c := range chains(r) {
			var links []string
			for _, l := range c.Links {
				links = append(links, l.Name+"="+string(l.State))
			}
			got = append(got, strings.Join(links, " "))
		}
		if text := strings.Join(got, " | "); text != want {
			t.Errorf("%s:\n got %s\nwant %s", domain, text, want)
		}
	}
}

// The page contains everything, and nothing from elsewhere. What servers say is escaped. Each
// state has a word.
func TestPageIsCompleteAndEscaped(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	inet.Domain("rude.test").MX("mx.rude.test").Add(`_smtp._tls TXT "v=TLSRPTv1; rua=mailto:\"<b>\"@rude.test"`).
		Policy("enforce", "mx.rude.test").Publish("</pre><script>alert(1)</script>\n")
	inet.Host("mx.rude.test", policytest.Reply(policytest.Greeting, "554 <script>alert(1)</script>"), policytest.TLSA("3 1 1"))
	inet.Domain("null.test").Add("@ MX 0 .")
	inet.Domain("good.test").MX("mx.good.test")
	inet.Host("mx.good.test", policytest.TLSA("3 1 1"))
	var b bytes.Buffer
	if err := Write(&b, []*survey.Result{surveyed(t, inet, "rude.test"), surveyed(t, inet, "null.test"), surveyed(t, inet, "good.test")}); err != nil {
		t.Fatal(err)
	}
	page := b.String()
	for _, want := range []string{
		"\u2717 broken", "\u2717 unreachable", "\u2713 protected", "null MX", "&lt;script&gt;alert(1)", "DANE for mx.good.test", "MTA-STS for mx.rude.test",
		"\u2717 failed", "\u2713 ok", "TLSA (1 usable of 1, at mx.good.test): ok", "prefers-color-scheme: dark", "max-width: 800px",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("no %q", want)
		}
	}
	for _, not := range []string{"<script", "src=", "href=", "@import", "url(", "ZgotmplZ", "<b>"} {
		if strings.Contains(page, not) {
			t.Errorf("%q in the page", not)
		}
	}
	for rest := page; ; {
		_, after, found := strings.Cut(rest, "<svg")
		if !found {
			break
		}
		svg, after, _ := strings.Cut(after, "</svg>")
		decoder := xml.NewDecoder(strings.NewReader("<svg" + svg + "</svg>"))
		for {
			if _, err := decoder.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%v in %s", err, svg)
			}
		}
		rest = after
	}
}

func TestFitCutsLongText(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{"12345": "12345", "123456": "1234\u2026", "\u00e4\u00e4\u00e4\u00e4\u00e4": "\u00e4\u00e4\u00e4\u00e4\u00e4"} {
		if got := fit(in, 5); got != want {
			t.Errorf("%q: %q", in, got)
		}
	}
}
