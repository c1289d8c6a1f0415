package mail

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/internal/test/await"
	"github.com/mxseal/mxseal/internal/test/interop/dnsserver"
	"github.com/mxseal/mxseal/internal/test/interop/mailserver"
	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/delivery"
	"github.com/mxseal/mxseal/tlsrpt"
)

// Addresses of the mail hosts and of the policy host in DNS. Connections to
// them are redirected to loopback ports.
const (
	selfSigned = "192.0.2.11"
	privateCA  = "192.0.2.12"
	webPKI     = "192.0.2.13"
	foreignCA  = "192.0.2.14"
	noTLS      = "192.0.2.15"
	policyHost = "192.0.2.20"
)

// deliveries are the recipient domains. Those that must not get the message
// come first: when a later message has arrived, an earlier one would have
// arrived too.
var deliveries = []struct {
	domain string
	want   tlsrpt.ResultType // the expected failure, or "" if the message must arrive
}{
	{domain: "wrong-key.signed", want: tlsrpt.TLSAInvalid},
	{domain: "wrong-anchor.signed", want: tlsrpt.TLSAInvalid},
	{domain: "no-tls.signed", want: tlsrpt.STARTTLSNotSupported},
	{domain: "bogus-key.signed", want: tlsrpt.DNSSECInvalid},
	{domain: "foreign-ca.unsigned", want: tlsrpt.CertificateNotTrusted},
	{domain: "no-tls.unsigned", want: tlsrpt.STARTTLSNotSupported},
	{domain: "not-listed.unsigned", want: tlsrpt.CertificateHostMismatch},

	{domain: "ee.signed"},
	{domain: "ta.signed"},
	{domain: "listed.unsigned"},
	{domain: "no-policy.unsigned"},
}

// TestDeliveryToEachDomain sends one message to each domain.
func TestDeliveryToEachDomain(t *testing.T) {
	var (
		authority = mailserver.NewCA(t, "private authority")
		web       = mailserver.NewCA(t, "web authority")
		foreign   = mailserver.NewCA(t, "foreign authority")
		ee        = mailserver.NewServer(t, nil, "anything.invalid")
		ta        = mailserver.NewServer(t, &authority, "mx.ta.signed", "mx.wrong-anchor.signed")
		listed    = mailserver.NewServer(t, &web, "mx.listed.unsigned", "mx.not-listed.unsigned", "mx.no-tls.unsigned")
		other     = mailserver.NewServer(t, &foreign, "mx.foreign-ca.unsigned")
	)
	server := mailserver.StartPostfix(t, []mailserver.Entrance{
		{Addr: selfSigned, Chain: ee.File(t)},
		{Addr: privateCA, Chain: ta.File(t, authority)},
		{Addr: webPKI, Chain: listed.File(t)},
		{Addr: foreignCA, Chain: other.File(t, foreign)},
		{Addr: noTLS},
	})
	policies := map[string]string{}
	for _, domain := range []string{"listed.unsigned", "foreign-ca.unsigned", "no-tls.unsigned"} {
		policies["mta-sts."+domain] = enforce("mx." + domain)
	}
	policies["mta-sts.not-listed.unsigned"] = enforce("mx.elsewhere.unsigned")
	policyNames := make([]string, 0, len(policies))
	for name := range policies {
		policyNames = append(policyNames, name)
	}
	ports := server.Ports
	ports[policyHost] = startPolicyHost(t, mailserver.NewServer(t, &web, policyNames...).File(t), policies)

	resolver := newResolver(t, startDNS(t, ee, ta, authority), ports, web)
	dialer := delivery.Dialer{Resolver: resolver, LocalName: "sender.example"}
	var delivered []string
	for _, d := range deliveries {
		t.Run(d.domain, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
			defer cancel()
			to := "postmaster@" + d.domain
			err := dialer.SendMail(ctx, "sender@sender.example", []string{to}, []byte(message(d.domain)))
			if d.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				expectMessage(t, server, d.domain)
				delivered = append(delivered, d.domain)
				return
			}
			checkRefusal(t, err, d.want)
		})
	}
	if messages := server.Messages(t); len(messages) != len(delivered) {
		t.Errorf("%d messages in the mailbox, want %d:\n%s", len(messages), len(delivered), strings.Join(messages, "\n"))
	}
}

// checkRefusal checks that err is a temporary error with the TLS-RPT result
// type, for the domain or for the host.
func checkRefusal(t *testing.T, err error, want tlsrpt.ResultType) {
	t.Helper()
	var sendError *delivery.SendError
	if !errors.As(err, &sendError) {
		t.Fatalf("error is %v, want a *delivery.SendError", err)
	}
	t.Logf("%v", err)
	if !sendError.Temporary() {
		t.Errorf("the failure is permanent: %v", err)
	}
	if got := reasons(err); !strings.Contains(got, string(want)) {
		t.Errorf("reasons are %q, want %q among them", got, want)
	}
}

// reasons returns the result types in the tree of errors.
func reasons(err error) string {
	var list strings.Builder
	if e, ok := err.(*policy.Error); ok {
		list.WriteString(string(e.Reason) + " ")
	}
	switch e := err.(type) {
	case interface{ Unwrap() []error }:
		for _, each := range e.Unwrap() {
			list.WriteString(reasons(each))
		}
	case interface{ Unwrap() error }:
		if cause := e.Unwrap(); cause != nil {
			list.WriteString(reasons(cause))
		}
	}
	return list.String()
}

// expectMessage waits for the message of the domain in the mailbox, and checks it.
func expectMessage(t *testing.T, server *mailserver.Postfix, domain string) {
	t.Helper()
	var text string
	await.Until(t, "the message to "+domain, func() bool {
		messages := server.Messages(t)
		i := slices.IndexFunc(messages, func(text string) bool { return strings.Contains(text, "Subject: to "+domain+"\n") })
		if i >= 0 {
			text = messages[i]
		}
		return i >= 0
	})
	checkMessage(t, text, domain)
}

// checkMessage checks that the message is complete and was received over TLS
// for the right recipient.
func checkMessage(t *testing.T, text, domain string) {
	t.Helper()
	for _, want := range []string{
		"Return-Path: <sender@sender.example>\n",
		"Delivered-To: postmaster@" + domain + "\n",
		"from sender.example",
		"using TLSv1.3",
		"\n\nHello " + domain + ".\n.dot at the start of a line\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the message has no %q:\n%s", want, text)
		}
	}
}

func message(domain string) string {
	return fmt.Sprintf("From: sender@sender.example\r\nTo: postmaster@%[1]s\r\nSubject: to %[1]s\r\n"+
		"\r\nHello %[1]s.\r\n.dot at the start of a line\r\n", domain)
}

// startPolicyHost serves the policies and returns the port.
func startPolicyHost(t *testing.T, chain string, policies map[string]string) int {
	t.Helper()
	dir := t.TempDir()
	for host, text := range policies {
		wellKnown := filepath.Join(dir, "sites", host, ".well-known")
		if err := os.MkdirAll(wellKnown, 0o755); err != nil {
			t.Fatal(err)
		}
		dnsserver.WriteFile(t, filepath.Join(wellKnown, "mta-sts.txt"), text)
	}
	return mailserver.StartNginx(t, dir, chain, "root sites/$host;", "")
}

func enforce(mx string) string {
	return "version: STSv1\r\nmode: enforce\r\nmx: " + mx + "\r\nmax_age: 86400\r\n"
}

// newResolver returns a Resolver with its own validator, which uses the
// unbound. Its connections go to the loopback ports.
func newResolver(t *testing.T, dns network, ports map[string]int, web mailserver.Identity) *policy.Resolver {
	t.Helper()
	validator, err := dnssec.New(dnssec.Config{
		Servers:    []string{net.JoinHostPort("127.0.0.1", strconv.Itoa(dns.port))},
		AnchorFile: dns.anchorFile,
	})
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(web.Cert)
	documentation := netip.MustParsePrefix("192.0.2.0/24")
	resolver, err := policy.New(policy.Config{
		DNS:             validator,
		RootCAs:         roots,
		AllowPolicyHost: documentation.Contains,
		Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			host, _, err := net.SplitHostPort(addr)
			if err != nil {
				return nil, err
			}
			port, ok := ports[host]
			if !ok {
				return nil, fmt.Errorf("nothing is at %s", addr)
			}
			var dialer net.Dialer
			return dialer.DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return resolver
}

// A network is a private DNS.
type network struct {
	port       int // of the recursive resolver, on 127.0.0.1
	anchorFile string
}

// startDNS publishes the domains below "signed" and "unsigned".
func startDNS(t *testing.T, ee, ta, authority mailserver.Identity) network {
	t.Helper()
	var text strings.Builder
	host := func(domain, addr string) {
		fmt.Fprintf(&text, "%[1]s MX 10 mx.%[1]s\nmx.%[1]s A %[2]s\n", domain, addr)
	}
	tlsa := func(domain, parameters, data string) {
		fmt.Fprintf(&text, "_25._tcp.mx.%s TLSA %s %s\n", domain, parameters, data)
	}
	host("ee", selfSigned)
	tlsa("ee", "3 1 1", ee.TLSAKey())
	host("ta", privateCA)
	tlsa("ta", "2 0 1", authority.TLSACert())
	host("wrong-key", selfSigned)
	tlsa("wrong-key", "3 1 1", ta.TLSAKey())
	host("wrong-anchor", privateCA)
	tlsa("wrong-anchor", "2 0 1", ee.TLSACert())
	host("no-tls", noTLS)
	tlsa("no-tls", "3 1 1", ee.TLSAKey())
	host("bogus-key", selfSigned)
	tlsa("bogus-key", "3 1 1", ee.TLSAKey())
	signed := dnsserver.NewZone(t, "signed.", text.String())

	text.Reset()
	host("no-policy", selfSigned)
	for domain, addr := range map[string]string{
		"listed": webPKI, "not-listed": webPKI, "foreign-ca": foreignCA, "no-tls": noTLS,
	} {
		host(domain, addr)
		fmt.Fprintf(&text, "_mta-sts.%[1]s TXT \"v=STSv1; id=1;\"\nmta-sts.%[1]s A %[2]s\n", domain, policyHost)
	}
	unsigned := dnsserver.NewZone(t, "unsigned.", text.String())

	root := dnsserver.NewZone(t, ".", "")
	signing := dnsserver.Signing{Signer: dnsserver.BIND, Algorithms: []uint8{13}}
	signed.Sign(t, signing)
	root.Delegate(t, signed.Name, signed.DS(2)...)
	root.Delegate(t, unsigned.Name)
	root.Sign(t, signing)
	for _, sig := range signed.Signatures("_25._tcp.mx.bogus-key", 52) {
		sig.Expiration = sig.Inception
	}
	zones := []*dnsserver.Zone{root, signed, unsigned}
	nsd := dnsserver.NSD(t, zones)
	authorities := map[string]int{}
	for _, zone := range zones {
		authorities[zone.Name] = nsd
	}
	anchorFile := filepath.Join(t.TempDir(), "root.key")
	dnsserver.WriteFile(t, anchorFile, root.DS(2)[0].String()+"\n")
	recursive := dnsserver.Unbound(t, dnsserver.RecursiveConfig{Authorities: authorities, AnchorFile: anchorFile})
	return network{port: recursive.Port, anchorFile: anchorFile}
}
