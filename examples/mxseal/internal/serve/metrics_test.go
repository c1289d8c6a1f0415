package serve

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/emersion/go-smtp"

	"github.com/mxseal/mxseal/internal/test/await"
	"github.com/mxseal/mxseal/policy/policytest"
)

// The page has the numbers of everything that the daemon does.
func TestMetricsCountEverything(t *testing.T) {
	inet := newInternet(t)
	inet.Domain("stripped.example").MX("mx.stripped.example")
	inet.Host("mx.stripped.example", policytest.TLSA("3 1 1"), policytest.NoSTARTTLS)
	r := start(t, inet, dirOf(t), plain+"[relay]\nlmtp = ['unix:DIR/relay.sock']\ntransport = ['unix:DIR/transport.sock']\nqueue-directory = 'DIR'\nlocal-domains = ['own.example']\n"+
		"[tlsrpt-reports]\ncontact = 'tls@sender.example'\n[tlsrpt-collector]\nlisten = ['unix:DIR/tlsrpt.sock']\n")
	web := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(r.dir, "http.sock"))
	}}}
	scrape := func() string {
		t.Helper()
		reply, err := web.Get("http://mxseal/metrics")
		if err != nil {
			t.Fatal(err)
		}
		defer reply.Body.Close()
		text, err := io.ReadAll(reply.Body)
		if err != nil || !strings.HasPrefix(reply.Header.Get("Content-Type"), "text/plain; version=") {
			t.Errorf("%v, %v", reply.Header, err)
		}
		return string(text)
	}
	check := func(lines ...string) {
		t.Helper()
		text := scrape()
		for _, line := range lines {
			if !strings.Contains(text, "\n"+line) {
				t.Errorf("no line %s in\n%s", line, text)
			}
		}
	}
	check(`mxseal_socketmap_requests_total{answer="dane-only",map="QUERY"} 0`, `mxseal_deliveries_total{level="none",outcome="deferred"} 0`,
		`mxseal_build_info{`, `mxseal_tlsrpt_reports_total{result="sent",scheme="mailto"} 0`, `go_goroutines `, `mxseal_socketmap_connections 0`)

	transport, err := net.Dial("unix", filepath.Join(r.dir, "transport.sock"))
	if err != nil {
		t.Fatal(err)
	}
	for _, ask := range []struct{ key, word string }{{"a@dane.example", "OK"}, {"a@own.example", "NOTFOUND"}} {
		fmt.Fprintf(transport, "%d:transport %s,", len("transport ")+len(ask.key), ask.key)
		if reply, err := bufio.NewReader(transport).ReadString(','); err != nil || !strings.Contains(reply, ":"+ask.word+" ") {
			t.Errorf("%s: %q, %v", ask.key, reply, err)
		}
	}
	check(`mxseal_socketmap_connections 1`)
	transport.Close()
	r.ask(t, "QUERY dane.example")
	r.ask(t, "exim dane.example mx.dane.example")
	r.ask(t, "exim dane.example")
	postfix, err := net.Dial("unix", filepath.Join(r.dir, "policy.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer postfix.Close()
	await.Until(t, "the connection is counted", func() bool { return strings.Contains(scrape(), "\nmxseal_socketmap_connections 1\n") })
	conn, err := net.Dial("unix", filepath.Join(r.dir, "relay.sock"))
	if err != nil {
		t.Fatal(err)
	}
	client := smtp.NewClientLMTP(conn)
	defer client.Close()
	if err := client.SendMail("me@sender.example", []string{"a@dane.example", "a@stripped.example"}, strings.NewReader("Subject: x\r\n\r\nx\r\n")); err == nil {
		t.Error("the mail to stripped.example was accepted")
	}
	datagrams, err := net.Dial("unixgram", filepath.Join(r.dir, "tlsrpt.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer datagrams.Close()
	fmt.Fprint(datagrams, `{"d":"dane.example","policies":[{"policy-type":1,"policy-domain":"mx.dane.example","f":0}]}`)
	fmt.Fprint(datagrams, `no JSON`)
	await.Until(t, "both datagrams are read", func() bool {
		return strings.Contains(scrape(), `mxseal_tlsrpt_datagrams_total{result="malformed"} 1`)
	})
	check(`mxseal_socketmap_requests_total{answer="dane-only",map="QUERY"} 1`, `mxseal_socketmap_requests_total{answer="dane",map="exim"} 1`,
		`mxseal_socketmap_requests_total{answer="relay",map="transport"} 1`, `mxseal_socketmap_requests_total{answer="notfound",map="transport"} 1`,
		`mxseal_socketmap_requests_total{answer="perm",map="exim"} 1`, `mxseal_socketmap_duration_seconds_count{map="exim"} 2`, `mxseal_plans_cached 2`,
		`mxseal_deliveries_total{level="authenticated",outcome="sent"} 1`, `mxseal_deliveries_total{level="none",outcome="deferred"} 1`,
		`mxseal_tlsrpt_datagrams_total{result="ok"} 1`, `mxseal_tlsrpt_recorded_total{source="postfix"} 1`,
		`mxseal_tlsrpt_recorded_total{source="own"} 2`, `mxseal_sessions_total{policy="tlsa",result="starttls-not-supported"} 1`)
}
