package mtasts_test

import (
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"

	"github.com/mxseal/mxseal/mtasts"
)

func ExampleParsePolicy() {
	policy, err := mtasts.ParsePolicy("version: STSv1\nmode: enforce\nmx: mail.example.com\nmx: *.example.net\nmax_age: 604800\n")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(policy.Mode, policy.MaxAge)
	fmt.Println(policy.MatchMX("mail.example.com."))
	fmt.Println(policy.MatchMX("MX1.example.net"))
	fmt.Println(policy.MatchMX("a.b.example.net"))
	// Output:
	// enforce 168h0m0s
	// true
	// true
	// false
}

func ExampleSelectRecord() {
	record, err := mtasts.SelectRecord([]string{"v=spf1 -all", "v=STSv1; id=20160831085700Z;"})
	fmt.Println(record.ID, err)
	// Output: 20160831085700Z <nil>
}

// A sender that does its own MX lookups looks up the policy of the recipient's
// domain, and then checks each mail host of the domain.
func ExampleClient_Lookup() {
	client, err := mtasts.New(exampleConfig()) // mtasts.Config{} as a rule
	if err != nil {
		fmt.Println(err)
		return
	}
	result, err := client.Lookup(context.Background(), "example.com")
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, host := range []string{"mail.example.com", "mail.attacker.example"} {
		if p := result.Policy; p != nil && p.Mode == mtasts.Enforce && !p.MatchMX(host) {
			fmt.Println(host, "gets no mail")
			continue
		}
		fmt.Println(host, "gets mail over TLS, if its certificate is valid")
	}
	// Output:
	// mail.example.com gets mail over TLS, if its certificate is valid
	// mail.attacker.example gets no mail
}

// exampleConfig returns a Config for a policy host on the loopback interface.
func exampleConfig() mtasts.Config {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		fmt.Fprint(w, "version: STSv1\nmode: enforce\nmx: mail.example.com\nmax_age: 604800\n")
	}))
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate()) // it is valid for *.example.com
	return mtasts.Config{
		Resolver:        exampleResolver{},
		RootCAs:         roots,
		AllowPolicyHost: netip.Addr.IsLoopback,
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, server.Listener.Addr().String())
		},
	}
}

// exampleResolver knows the two names of example.com.
type exampleResolver struct{}

func (exampleResolver) LookupTXT(context.Context, string) ([]string, error) {
	return []string{"v=STSv1; id=1;"}, nil
}

func (exampleResolver) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
}
