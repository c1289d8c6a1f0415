package policytest_test

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/delivery"
	"github.com/mxseal/mxseal/policy/policytest"
)

// C14: hosts are not limited to the addresses for documentation. Each has an
// address of its own and can be connected to, by many clients at once.
func TestC14ManyHosts(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	const hosts = 1000
	inet.Domain("example.org")
	for i := range hosts {
		inet.Host(fmt.Sprintf("mx%d.example.org", i))
	}
	seen := make(map[netip.Addr]bool)
	results := make(chan error)
	for i := range hosts {
		name := fmt.Sprintf("mx%d.example.org", i)
		text := ask(t, inet, name, dns.TypeA)
		if len(text) != 1 {
			t.Fatalf("%s has %q", name, text)
		}
		addr := netip.MustParseAddr(text[0])
		if seen[addr] || !inet.Contains(addr) {
			t.Errorf("%s has %s", name, addr)
		}
		seen[addr] = true
		go func() {
			c, err := inet.Dial(t.Context(), "tcp", netip.AddrPortFrom(addr, 25).String())
			if err == nil {
				var greeting string
				greeting, err = bufio.NewReader(c).ReadString('\n')
				if want := "220 " + name + " ESMTP\r\n"; err == nil && greeting != want {
					err = fmt.Errorf("%q, want %q", greeting, want)
				}
				c.Close()
			}
			results <- err
		}()
	}
	for range hosts {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
}

// realServer starts a program that is a mail host. It sends a greeting and closes the
// connection.
func realServer(t *testing.T) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			io.WriteString(c, "220 a real server\r\n")
			c.Close()
		}
	}()
	return l.Addr().String()
}

func TestServerIsRealProgram(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	cert := inet.IssueCertificate("mx.example.org")
	record := policytest.TLSARecord(cert.Leaf, "3 1 1")
	addr := realServer(t)
	mx := inet.Server("mx.example.org", addr, record)
	if got := ask(t, inet, "_25._tcp.mx.example.org", dns.TypeTLSA); !slices.Equal(got, []string{record}) {
		t.Errorf("TLSA records %q, want %q", got, record)
	}
	if mx.LoopbackAddr() != addr || mx.Name() != "mx.example.org" {
		t.Errorf("%s at %s", mx.Name(), mx.LoopbackAddr())
	}
	c, err := inet.Dial(t.Context(), "tcp", "mx.example.org:25")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if remote := c.RemoteAddr().(*net.TCPAddr).AddrPort(); !inet.Contains(remote.Addr()) || remote.Port() != 25 {
		t.Errorf("remote address %s", remote)
	}
	waitFor(t, c, "220 a real server")

	restore := mx.Break(policytest.Refuse)
	if _, err := inet.Dial(t.Context(), "tcp", "mx.example.org:25"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("Refuse: %v", err)
	}
	restore()
	mx.PublishTLSA()
	if got := ask(t, inet, "_25._tcp.mx.example.org", dns.TypeTLSA); !slices.Equal(got, []string{"NXDOMAIN"}) {
		t.Errorf("TLSA records %q", got)
	}
	defer func() {
		if recover() == nil {
			t.Error("a TLSA record without data was published")
		}
	}()
	mx.PublishTLSA("3 1 1")
}

// A certificate that the internet issues is trusted, and takes options.
func TestIssueCertificate(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	for _, test := range []struct {
		name    string
		options []policytest.Option
		err     string
	}{
		{name: "valid"},
		{name: "expired", options: []policytest.Option{policytest.Expired}, err: "expired"},
		{name: "RSA", options: []policytest.Option{policytest.OnlyRSAKeyExchange}},
	} {
		cert := inet.IssueCertificate("mx.example.org", test.options...)
		ours, theirs := net.Pipe()
		go func() {
			defer theirs.Close()
			tls.Server(theirs, &tls.Config{Certificates: []tls.Certificate{cert}}).Handshake()
		}()
		err := tls.Client(ours, &tls.Config{ServerName: "mx.example.org", RootCAs: inet.RootCAs()}).Handshake()
		ours.Close()
		if test.err == "" && err != nil || test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)) {
			t.Errorf("%s: %v, want %q", test.name, err, test.err)
		}
	}
}

// TLSARecord agrees with the DNS library for all parameters.
func TestTLSARecord(t *testing.T) {
	t.Parallel()
	cert := policytest.New(t).IssueCertificate("mx.example.org").Leaf
	for _, matching := range []int{0, 1, 2} {
		for _, selector := range []int{0, 1} {
			want := new(dns.TLSA)
			if err := want.Sign(3, selector, matching, cert); err != nil {
				t.Fatal(err)
			}
			got := policytest.TLSARecord(cert, fmt.Sprint(3, selector, matching))
			if want := fmt.Sprintf("3 %d %d %s", selector, matching, want.Certificate); got != want {
				t.Errorf("%s, want %s", got, want)
			}
		}
	}
}

// loopback returns an address and port of this machine that are free.
func loopback(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// A program that knows only a DNS server finds a host at its real address and port.
func TestListenAtRealAddress(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	real := loopback(t)
	host, port, _ := net.SplitHostPort(real)
	mx := inet.Host("mx.example.org", policytest.Listen(real), policytest.TLSA("3 1 1"))
	server := inet.ListenDNS("127.0.0.1:0")
	if server == inet.DNSAddr() {
		t.Error("ListenDNS did not listen")
	}
	for _, network := range []string{"udp", "tcp"} {
		client := &dns.Client{Net: network}
		reply, _, err := client.Exchange(new(dns.Msg).SetQuestion("mx.example.org.", dns.TypeA), server)
		if err != nil || len(reply.Answer) != 1 || reply.Answer[0].(*dns.A).A.String() != host || reply.AuthenticatedData {
			t.Errorf("%s: %v %v", network, reply, err)
		}
	}
	if got := ask(t, inet, "_"+port+"._tcp.mx.example.org", dns.TypeTLSA); len(got) != 1 || !strings.HasPrefix(got[0], "3 1 1 ") {
		t.Errorf("TLSA records %q", got)
	}
	for name, dial := range map[string]func() (net.Conn, error){
		"net.Dial":  func() (net.Conn, error) { return net.Dial("tcp", real) },
		"inet.Dial": func() (net.Conn, error) { return inet.Dial(t.Context(), "tcp", real) },
	} {
		c, err := dial()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		waitFor(t, c, "220 mx.example.org ESMTP")
		c.Close()
	}
	if n := len(mx.Sessions()); n != 2 {
		t.Errorf("%d sessions, want 2", n)
	}
	web := inet.Web("web.example.org", http.NotFoundHandler(), policytest.Listen(loopback(t)))
	if c, err := inet.Dial(t.Context(), "tcp", "web.example.org:443"); err == nil {
		c.Close()
		t.Error("the HTTPS host is at port 443, and not at its real port")
	}
	if got := ask(t, inet, web.Name(), dns.TypeA); len(got) != 1 || !strings.HasPrefix(got[0], "127.") {
		t.Errorf("the HTTPS host is at %q", got)
	}
}

func TestListenResolverSetsAD(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	for name, options := range map[string][]policytest.DomainOption{
		"signed.example": nil, "unsigned.example": {policytest.Unsigned}, "bogus.example": nil, "forged.example": nil,
		"poisoned.example": {policytest.Unsigned}, "keyless.example": nil,
	} {
		inet.Domain(name, options...).MX("mx." + name)
	}
	inet.BreakDNS(policytest.Bogus, "bogus.example", dnssec.TypeMX)
	inet.BreakDNS(policytest.Forge("forged.example. MX 0 evil.example."), "forged.example", dnssec.TypeMX)
	inet.BreakDNS(policytest.Forge("poisoned.example. MX 0 evil.example."), "poisoned.example", dnssec.TypeMX)
	inet.BreakDNS(policytest.ServFail, "keyless.example", dnssec.TypeDNSKEY)
	inet.ForgetQuestions()
	server := inet.ListenResolver("127.0.0.1:0")
	for _, test := range []struct {
		name       string
		ad, do, cd bool
		secure     bool
		rcode      int
		answer     string
	}{
		{name: "signed.example", ad: true, secure: true, answer: "mx.signed.example."},
		{name: "signed.example", do: true, secure: true, answer: "mx.signed.example."},
		{name: "signed.example", answer: "mx.signed.example."},
		{name: "nope.signed.example", ad: true, secure: true, rcode: dns.RcodeNameError},
		{name: "unsigned.example", ad: true, answer: "mx.unsigned.example."},
		{name: "bogus.example", ad: true, rcode: dns.RcodeServerFailure},
		{name: "bogus.example", ad: true, cd: true, answer: "mx.bogus.example."},
		{name: "forged.example", ad: true, rcode: dns.RcodeServerFailure},
		{name: "poisoned.example", ad: true, answer: "evil.example."},
		{name: "keyless.example", ad: true, rcode: dns.RcodeServerFailure},
	} {
		q := new(dns.Msg).SetQuestion(test.name+".", dns.TypeMX)
		q.AuthenticatedData, q.CheckingDisabled = test.ad, test.cd
		if test.do {
			q.SetEdns0(1232, true)
		}
		reply, _, err := new(dns.Client).Exchange(q, server)
		if err != nil {
			t.Errorf("%+v: %v", test, err)
			continue
		}
		answer := ""
		if len(reply.Answer) > 0 {
			answer = reply.Answer[0].(*dns.MX).Mx
		}
		if reply.AuthenticatedData != test.secure || reply.Rcode != test.rcode || answer != test.answer {
			t.Errorf("%+v: AD %t, %s, %q", test, reply.AuthenticatedData, dns.RcodeToString[reply.Rcode], answer)
		}
	}
	if n := inet.Questions("unsigned.example", dnssec.TypeMX); n != 1 {
		t.Errorf("%d questions to the name server, want 1, from the resolver", n)
	}
}

// A host that speaks only HTTP/2 serves its policy to clients that speak it too.
func TestHTTP2Only(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	p := inet.Domain("example.org").Policy("none")
	get := func(http2 bool) (version string, err error) {
		transport := &http.Transport{DialContext: inet.Dial, TLSClientConfig: &tls.Config{RootCAs: inet.RootCAs()}, ForceAttemptHTTP2: http2}
		defer transport.CloseIdleConnections()
		r, err := (&http.Client{Transport: transport}).Get("https://mta-sts.example.org/.well-known/mta-sts.txt")
		if err != nil {
			return "", err
		}
		r.Body.Close()
		return r.Proto, nil
	}
	if version, err := get(false); version != "HTTP/1.1" {
		t.Errorf("%s %v", version, err)
	}
	defer p.Break(policytest.HTTP2Only)()
	if version, err := get(true); version != "HTTP/2.0" {
		t.Errorf("%s %v", version, err)
	}
	if version, err := get(false); err == nil {
		t.Errorf("a client without HTTP/2 got %s", version)
	}
}

// This library delivers a message to two hosts, the first of which follows a script.
func TestDeliveryByScript(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	inet.Domain("example.org").MX("mx1.example.org", "mx2.example.org")
	first := inet.Host("mx1.example.org", policytest.TLSA("3 1 1"),
		policytest.On("RCPT", policytest.Usual(), policytest.Say("450 4.2.1 not this one")))
	second := inet.Host("mx2.example.org", policytest.TLSA("3 1 1"))
	resolver, err := policy.New(inet.Config())
	if err != nil {
		t.Fatal(err)
	}
	defer resolver.Close()
	dialer := delivery.Dialer{Resolver: resolver, LocalName: "client.example"}
	to := []string{"a@example.org", "b@example.org"}
	if err := dialer.SendMail(t.Context(), "c@example.net", to, []byte("Subject: hi\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	if one, two := first.Messages(), second.Messages(); len(one) != 1 || !slices.Equal(one[0].To, to[:1]) || len(two) != 1 || !slices.Equal(two[0].To, to[1:]) {
		t.Errorf("first host %+v, second %+v", one, two)
	}
}
