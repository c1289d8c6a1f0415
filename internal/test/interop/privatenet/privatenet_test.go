package privatenet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/internal/test/await"
	"github.com/mxseal/mxseal/internal/test/interop/daemon"
	"github.com/mxseal/mxseal/internal/test/interop/dnsserver"
	"github.com/mxseal/mxseal/internal/test/interop/mailserver"
	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/delivery"
	"github.com/mxseal/mxseal/policy/policytest"
	"github.com/mxseal/mxseal/tlsrpt"
)

// A Postfix is a mail host of the internet, by DANE and by MTA-STS. It gets what its
// policies permit, and nothing else.
func TestPostfixAsServer(t *testing.T) {
	inet := policytest.New(t)
	shown := inet.IssueCertificate("mx.sts.example")
	own := mailserver.NewServer(t, nil, "mx.untrusted.example")
	postfix := mailserver.StartPostfix(t, []mailserver.Entrance{
		{Addr: "own", Chain: own.File(t)},
		{Addr: "issued", Chain: mailserver.ChainFile(t, shown)},
	})
	addr := func(entrance string) string {
		return net.JoinHostPort("127.0.0.1", strconv.Itoa(postfix.Ports[entrance]))
	}

	inet.Domain("dane.example").MX("mx.dane.example")
	dane := inet.Server("mx.dane.example", addr("own"), policytest.TLSARecord(own.Cert, "3 1 1"))
	inet.Domain("sts.example", policytest.Unsigned).MX("mx.sts.example").Policy("enforce", "mx.sts.example")
	inet.Server("mx.sts.example", addr("issued"))
	inet.Domain("untrusted.example", policytest.Unsigned).MX("mx.untrusted.example").Policy("enforce", "mx.untrusted.example")
	inet.Server("mx.untrusted.example", addr("own"))

	send := func(domain string) error {
		resolver, err := policy.New(inet.Config())
		if err != nil {
			t.Fatal(err)
		}
		defer resolver.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
		defer cancel()
		dialer := delivery.Dialer{Resolver: resolver, LocalName: "sender.example"}
		return dialer.SendMail(ctx, "a@sender.example", []string{"postmaster@" + domain}, []byte("Subject: to "+domain+"\r\n\r\n"))
	}
	refused := func(domain string, want tlsrpt.ResultType) {
		t.Helper()
		var failure *policy.Error
		if err := send(domain); !errors.As(err, &failure) || failure.Reason != want {
			t.Errorf("%s: %v, want %s", domain, err, want)
		}
	}
	refused("untrusted.example", tlsrpt.CertificateNotTrusted)
	dane.PublishTLSA(policytest.TLSARecord(shown.Leaf, "3 1 1"))
	refused("dane.example", tlsrpt.TLSAInvalid)
	dane.PublishTLSA(policytest.TLSARecord(own.Cert, "3 1 1"))
	for i, domain := range []string{"dane.example", "sts.example"} {
		if err := send(domain); err != nil {
			t.Fatalf("%s: %v", domain, err)
		}
		await.Until(t, "the message to "+domain, func() bool { return len(postfix.Messages(t)) == i+1 })
		if texts := strings.Join(postfix.Messages(t), ""); !strings.Contains(texts, "Subject: to "+domain+"\n") {
			t.Errorf("the Postfix got %s", texts)
		}
	}
}

// A Postfix sends to the hosts of the internet, with the resolvers that it can have.
// The one that does not set the AD bit shows what the others protect from.
func TestPostfixAsClient(t *testing.T) {
	const port = 2525
	for _, test := range []struct {
		name string
		// listen makes a DNS server at port 53 of an address.
		listen    func(t *testing.T, inet *policytest.Internet, ip string)
		validates bool
	}{
		{"the resolver of the internet", func(_ *testing.T, inet *policytest.Internet, ip string) {
			inet.ListenResolver(net.JoinHostPort(ip, "53"))
		}, true},
		{"unbound", func(t *testing.T, inet *policytest.Internet, ip string) {
			anchors := filepath.Join(t.TempDir(), "anchors")
			dnsserver.WriteFile(t, anchors, inet.TrustAnchors())
			dnsserver.Unbound(t, dnsserver.RecursiveConfig{Forward: inet.DNSAddr(), AnchorFile: anchors, IP: ip})
		}, true},
		{"a server without validation", func(_ *testing.T, inet *policytest.Internet, ip string) {
			inet.ListenDNS(net.JoinHostPort(ip, "53"))
		}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			inet := policytest.New(t)
			hosts := map[string]*policytest.Host{}
			add := func(domain string, signed []policytest.DomainOption, options ...policytest.Option) {
				inet.Domain(domain, signed...).MX("mx." + domain)
				listen := policytest.Listen(net.JoinHostPort(daemon.Loopback(), strconv.Itoa(port)))
				hosts[domain] = inet.Host("mx."+domain, append(options, listen)...)
			}
			unsigned := []policytest.DomainOption{policytest.Unsigned}
			add("right.example", nil, policytest.TLSA("3 1 1"))
			add("issuer.example", nil, policytest.TLSA("2 0 1"))
			add("plain.example", unsigned, policytest.SelfSigned)
			add("wrong.example", nil, policytest.TLSA("3 1 1"), policytest.OtherKey)
			add("clear.example", nil, policytest.TLSA("3 1 1"), policytest.NoSTARTTLS)
			add("bogus.example", nil, policytest.TLSA("3 1 1"))
			inet.BreakDNS(policytest.Bogus, "bogus.example", dnssec.TypeMX)

			resolver := daemon.Loopback()
			test.listen(t, inet, resolver)
			postfix := mailserver.StartSender(t, resolver, port)
			for domain := range hosts {
				postfix.Send(t, "a@sender.example", "b@"+domain, "Subject: hi\r\n\r\n")
			}
			for domain, host := range hosts {
				protected := test.validates && !strings.Contains("right.example issuer.example plain.example", domain)
				status := "status=sent"
				if protected {
					status = "status=deferred"
				}
				await.Until(t, domain+" has "+status, func() bool { return len(postfix.LogLines("to=<b@"+domain+">", status)) == 1 })
				if got := len(host.Messages()); protected != (got == 0) {
					t.Errorf("%s: %d messages", domain, got)
				}
			}
			for _, domain := range []string{"right.example", "issuer.example"} {
				verified := postfix.LogLines("Verified TLS connection established to mx." + domain)
				if (len(verified) == 1) != test.validates {
					t.Errorf("%s verified by DANE: %q", domain, verified)
				}
				if m := hosts[domain].Messages(); m[0].Session.TLS == nil {
					t.Errorf("%s got the message in cleartext", domain)
				}
			}
		})
	}
}

// unbound agrees with the resolver of the internet on the AD bit and on SERVFAIL.
func TestUnboundAgreesWithListenResolver(t *testing.T) {
	inet := policytest.New(t)
	faults := []policytest.DNSFault{nil, policytest.Bogus, policytest.Strip, policytest.ServFail}
	var domains []string
	for kind, options := range map[string][]policytest.DomainOption{
		"nsec": nil, "nsec3": {policytest.NSEC3}, "optout": {policytest.NSEC3OptOut}, "unsigned": {policytest.Unsigned}, "unknown": {policytest.UnknownAlgorithm},
	} {
		for i, fault := range faults {
			domain := fmt.Sprintf("%s%d.example", kind, i)
			inet.Domain(domain, options...).MX("mx."+domain).Add("alias CNAME mx", "mx A 192.0.2.1", "_25._tcp.mx TLSA 3 1 1 "+strings.Repeat("ab", 32))
			domains = append(domains, domain)
			if fault != nil {
				inet.BreakDNSBelow(fault, domain, dnssec.TypeMX, dnssec.TypeA, dnssec.TypeTLSA)
			}
		}
	}
	anchors := filepath.Join(t.TempDir(), "anchors")
	dnsserver.WriteFile(t, anchors, inet.TrustAnchors())
	unbound := dnsserver.Unbound(t, dnsserver.RecursiveConfig{Forward: inet.DNSAddr(), AnchorFile: anchors})
	ours := inet.ListenResolver("127.0.0.1:0")
	compared, secure, failed, spans := 0, 0, 0, 0
	for _, domain := range domains {
		for _, q := range []struct {
			name  string
			qtype uint16
		}{
			{domain, dns.TypeMX}, {"mx." + domain, dns.TypeA}, {"alias." + domain, dns.TypeA}, {"nope." + domain, dns.TypeA},
			{"_25._tcp.mx." + domain, dns.TypeTLSA}, {"_26._tcp.mx." + domain, dns.TypeTLSA}, {domain, dns.TypeTXT},
		} {
			query := new(dns.Msg).SetQuestion(q.name+".", q.qtype)
			query.AuthenticatedData = true
			want, err := dnsserver.Ask(unbound.Port, query)
			if err != nil {
				t.Fatal(err)
			}
			got, err := dnsserver.AskAt(ours, query)
			if err != nil {
				t.Fatal(err)
			}
			if want.Rcode == dns.RcodeServerFailure && domain == "optout1.example" && got.Rcode == dns.RcodeNameError && !got.AuthenticatedData {
				// In an opt-out span there may be an unsigned zone, whose answers have
				// no signatures (RFC 5155 section 6). unbound wants none rather than
				// wrong ones.
				spans++
				continue
			}
			if got.Rcode != want.Rcode || got.AuthenticatedData != want.AuthenticatedData || len(got.Answer) != len(want.Answer) {
				t.Errorf("%s %s: %s, AD %t, %d records; unbound: %s, AD %t, %d records", q.name, dns.TypeToString[q.qtype],
					dns.RcodeToString[got.Rcode], got.AuthenticatedData, len(got.Answer), dns.RcodeToString[want.Rcode], want.AuthenticatedData, len(want.Answer))
			}
			compared++
			if want.AuthenticatedData {
				secure++
			}
			if want.Rcode == dns.RcodeServerFailure {
				failed++
			}
		}
	}
	t.Logf("%d replies compared, %d with AD, %d SERVFAIL", compared, secure, failed)
	if secure == 0 || failed == 0 || spans > 2 {
		t.Errorf("too little was compared; %d replies were in opt-out spans", spans)
	}
}
