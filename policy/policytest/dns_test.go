package policytest_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/policy/policytest"
)

// ask returns the records of one type from the name server, as text.
func ask(t *testing.T, inet *policytest.Internet, name string, qtype uint16) []string {
	t.Helper()
	c := &dns.Client{Net: "tcp", Timeout: 5 * time.Second}
	reply, _, err := c.Exchange(new(dns.Msg).SetQuestion(dns.Fqdn(name), qtype), inet.DNSAddr())
	if err != nil {
		t.Fatal(err)
	}
	if reply.Rcode != dns.RcodeSuccess {
		return []string{dns.RcodeToString[reply.Rcode]}
	}
	var texts []string
	for _, rr := range reply.Answer {
		texts = append(texts, strings.TrimPrefix(rr.String(), rr.Header().String()))
	}
	return texts
}

func TestRecordsOfDomainsAndHosts(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	d := inet.Domain("Example.org.").MX("mx1.example.org", "mx2.example.net")
	d.Add("www TXT hello", "www TXT again")
	mx := inet.Host("mx1.example.org", policytest.TLSA("3 1 1", "2 0 0", "3 1 9 abcd"))
	inet.Host("mx2.example.net", policytest.Addrs("2001:db8::1"), policytest.Port(587), policytest.TLSA("3 0 2"))

	check := func(name string, qtype uint16, want ...string) {
		t.Helper()
		got := ask(t, inet, name, qtype)
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s %s: %q, want %q", name, dns.TypeToString[qtype], got, want)
		}
	}
	check("example.org", dns.TypeMX, "10 mx1.example.org.", "20 mx2.example.net.")
	check("www.example.org", dns.TypeTXT, `"hello"`, `"again"`)
	check("mx1.example.org", dns.TypeA, "192.0.2.1")
	check("mx2.example.net", dns.TypeAAAA, "2001:db8::1")
	check("_25._tcp.mx2.example.net", dns.TypeTLSA, "NXDOMAIN")

	records := ask(t, inet, "_25._tcp.mx1.example.org", dns.TypeTLSA)
	if len(records) != 3 {
		t.Fatalf("TLSA records %q, want three", records)
	}
	leaf := new(dns.TLSA)
	leaf.Sign(3, 1, 1, mx.Certificates()[0])
	if want := "3 1 1 " + leaf.Certificate; !slices.Contains(records, want) {
		t.Errorf("TLSA records %q, want %s among them", records, want)
	}
	issuer := new(dns.TLSA)
	issuer.Sign(2, 0, 0, mx.Certificates()[1])
	if want := "2 0 0 " + issuer.Certificate; !slices.Contains(records, want) {
		t.Errorf("TLSA records %q, want %s among them", records, want)
	}
	if got := ask(t, inet, "_587._tcp.mx2.example.net", dns.TypeTLSA); len(got) != 1 {
		t.Errorf("TLSA of port 587: %q", got)
	}

	mx.PublishTLSA()
	check("_25._tcp.mx1.example.org", dns.TypeTLSA, "NXDOMAIN")
	d.MX("mx2.example.net").Remove("www")
	check("example.org", dns.TypeMX, "10 mx2.example.net.")
	check("www.example.org", dns.TypeTXT, "NXDOMAIN")
}

// A host with OtherKey does not match its TLSA records, whether the option is
// given from the start or later.
func TestTLSAOfOtherKey(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	mx := inet.Host("mx.example.org", policytest.TLSA("3 1 1"), policytest.OtherKey)
	shown := new(dns.TLSA)
	shown.Sign(3, 1, 1, mx.Certificates()[0])
	if got := ask(t, inet, "_25._tcp.mx.example.org", dns.TypeTLSA); len(got) != 1 || got[0] == "3 1 1 "+shown.Certificate {
		t.Errorf("TLSA records %q fit the certificate", got)
	}
}

func TestBreakDNS(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	inet.Domain("example.org").MX("mx.example.org").Add("sub TXT x")
	restore := inet.BreakDNS(policytest.Forge("example.org. MX 0 evil.example."), "example.org", dnssec.TypeMX)
	if got := ask(t, inet, "example.org", dns.TypeMX); !slices.Equal(got, []string{"0 evil.example."}) {
		t.Errorf("forged: %q", got)
	}
	restore()
	if got := ask(t, inet, "example.org", dns.TypeMX); !slices.Equal(got, []string{"10 mx.example.org."}) {
		t.Errorf("restored: %q", got)
	}
	defer inet.BreakDNSBelow(policytest.ServFail, "example.org")()
	if got := ask(t, inet, "sub.example.org", dns.TypeTXT); !slices.Equal(got, []string{"SERVFAIL"}) {
		t.Errorf("broken: %q", got)
	}
	if n := inet.Questions("example.org", dnssec.TypeMX); n != 2 {
		t.Errorf("%d questions for MX, want 2", n)
	}
	if n := len(inet.AllQuestions()); n != 3 {
		t.Errorf("%d questions, want 3", n)
	}
	inet.ForgetQuestions()
	if n := len(inet.AllQuestions()); n != 0 {
		t.Errorf("%d questions after ForgetQuestions", n)
	}
}

// fetch returns the status code and the body of a policy.
func fetch(t *testing.T, inet *policytest.Internet, domain string) (status int, body string, err error) {
	t.Helper()
	transport := &http.Transport{DialContext: inet.Dial, TLSClientConfig: &tls.Config{RootCAs: inet.RootCAs()}}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: 5 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	r, err := client.Get("https://mta-sts." + domain + "/.well-known/mta-sts.txt")
	if err != nil {
		return 0, "", err
	}
	defer r.Body.Close()
	text, err := io.ReadAll(io.LimitReader(r.Body, 1<<16))
	return r.StatusCode, string(text), err
}

func TestPolicyHostPublishes(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	p := inet.Domain("example.org").Policy("enforce", "mx.example.org", "*.example.net")
	status, body, err := fetch(t, inet, "example.org")
	if want := "version: STSv1\r\nmode: enforce\r\nmx: mx.example.org\r\nmx: *.example.net\r\nmax_age: 604800\r\n"; status != 200 || body != want || err != nil {
		t.Errorf("%d %q %v", status, body, err)
	}
	if got := ask(t, inet, "_mta-sts.example.org", dns.TypeTXT); !slices.Equal(got, []string{`"v=STSv1; id=1;"`}) {
		t.Errorf("record %q", got)
	}
	p.Publish("other")
	if got := ask(t, inet, "_mta-sts.example.org", dns.TypeTXT); !slices.Equal(got, []string{`"v=STSv1; id=2;"`}) {
		t.Errorf("record %q", got)
	}
	if _, body, _ := fetch(t, inet, "example.org"); body != "other" {
		t.Errorf("policy %q", body)
	}
	p.Announce("spoofed")
	if got := ask(t, inet, "_mta-sts.example.org", dns.TypeTXT); !slices.Equal(got, []string{`"v=STSv1; id=spoofed;"`}) {
		t.Errorf("record %q", got)
	}
	if n := p.Fetches(); n != 2 {
		t.Errorf("%d fetches, want 2", n)
	}
}

func TestPolicyHostFaults(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	p := inet.Domain("example.org").Policy("none")
	tests := []struct {
		name   string
		fault  policytest.Option
		status int
		body   string
		err    string
	}{
		{name: "refused", fault: policytest.Refuse, err: "connection refused"},
		{name: "not found", fault: policytest.Status(404), status: 404, body: "version: STSv1"},
		{name: "redirect", fault: policytest.Redirect("https://example.net/"), status: 302},
		{name: "body", fault: policytest.Body("text/html", "<html>"), status: 200, body: "<html>"},
		{name: "endless", fault: policytest.Endless(policytest.Fetch), status: 200, body: "version: STSv1"},
		{name: "wrong name", fault: policytest.WrongName("example.org"), err: "certificate is valid for example.org"},
		{name: "expired", fault: policytest.Expired, err: "expired"},
		{name: "self-signed", fault: policytest.SelfSigned, err: "unknown authority"},
		{name: "untrusted", fault: policytest.UntrustedCA, err: "unknown authority"},
		{name: "hang up", fault: policytest.HangUp(policytest.Fetch), err: "EOF"},
		{name: "hang up at TLS", fault: policytest.HangUp(policytest.Handshake), err: "EOF"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			defer p.Break(test.fault)()
			status, body, err := fetch(t, inet, "example.org")
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Errorf("%v, want %q", err, test.err)
				}
				return
			}
			if err != nil || status != test.status || !strings.HasPrefix(body, test.body) {
				t.Errorf("%d %.40q %v", status, body, err)
			}
		})
	}
}

func TestWebServesHandlerAndFaults(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	web := inet.Web("mta-sts.example.org", http.NotFoundHandler())
	if status, _, err := fetch(t, inet, "example.org"); status != http.StatusNotFound || err != nil {
		t.Errorf("%d %v", status, err)
	}
	restore := web.Break(policytest.Expired)
	if _, _, err := fetch(t, inet, "example.org"); err == nil {
		t.Error("the certificate has not expired")
	}
	restore()
	if got := web.Requests(); !slices.Equal(got, []string{"GET /.well-known/mta-sts.txt"}) {
		t.Errorf("requests %q", got)
	}
}

// BenchmarkStart starts and closes an internet of ten domains with DANE and
// MTA-STS. For comparison, it also starts and closes twenty servers of
// httptest.
func BenchmarkStart(b *testing.B) {
	b.Run("policytest", func(b *testing.B) {
		for b.Loop() {
			inet := policytest.New(nil)
			for i := range 10 {
				name := fmt.Sprintf("d%d.example", i)
				inet.Domain(name).MX("mx."+name).Policy("enforce", "mx."+name)
				inet.Host("mx."+name, policytest.TLSA("3 1 1"))
			}
			inet.Close()
		}
	})
	b.Run("httptest", func(b *testing.B) {
		for b.Loop() {
			var servers []*httptest.Server
			for range 20 {
				servers = append(servers, httptest.NewTLSServer(http.NotFoundHandler()))
			}
			for _, s := range servers {
				s.Close()
			}
		}
	})
}
