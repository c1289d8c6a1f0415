package delivery_test

import (
	"net/smtp"
	"net/textproto"
	"strings"
	"testing"

	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/delivery"
	"github.com/mxseal/mxseal/policy/policytest"
)

// The caller's credentials reach only a host that is authenticated and that the domain's
// owner or the operator has named. A host that a forged MX record names gets none, even if
// it proves its own name, neither by Client.Auth nor over Session.NetConn (AUTH-13).
func TestAuthNeedsAnAuthenticatedRoute(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	login := []policytest.Option{policytest.Extension("AUTH PLAIN"), policytest.On("AUTH", policytest.Say("235 2.7.0 welcome"))}
	hosts := map[string]*policytest.Host{}
	for name, tlsa := range map[string]bool{"pki": false, "dane": true, "listed": false} {
		host := name + ".smart.example"
		hosts[host] = inet.Host(host, append([]policytest.Option{policytest.NoFault}, login...)...)
		if tlsa {
			hosts[host].PublishTLSA("3 1 1")
		}
	}
	inet.Domain("signed.example").MX("dane.smart.example")
	inet.Domain("signed-pki.example").MX("pki.smart.example")
	inet.Domain("forged.example", policytest.Unsigned).MX("dane.smart.example")
	inet.Domain("forged-pki.example", policytest.Unsigned).MX("pki.smart.example")
	inet.Domain("enforced.example", policytest.Unsigned).MX("listed.smart.example").Policy("enforce", "listed.smart.example")
	resolver := inet.Resolver()
	dialer := &delivery.Dialer{Resolver: resolver, LocalName: "sender.example"}
	authenticated := policy.AtLeast(policy.Authenticated)
	for _, test := range []struct {
		name    string
		domain  string
		options []policy.Option
		want    bool
	}{
		{"secure MX, DANE", "signed.example", nil, true},
		{"secure MX, no policy", "signed-pki.example", nil, false},
		{"secure MX, web PKI", "signed-pki.example", []policy.Option{authenticated}, true},
		{"insecure MX, DANE", "forged.example", nil, false},
		{"insecure MX, DANE, level", "forged.example", []policy.Option{authenticated}, false},
		{"insecure MX, web PKI", "forged-pki.example", []policy.Option{authenticated}, false},
		{"insecure MX, enforced", "enforced.example", nil, true},
		{"named by the operator", "forged.example", []policy.Option{policy.Via("[pki.smart.example]"), authenticated}, true},
		{"named, but not authenticated", "forged.example", []policy.Option{policy.Via("[pki.smart.example]")}, false},
		{"the operator's, insecure MX", "signed.example", []policy.Option{policy.Via("forged.example"), authenticated}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := func() (commands []string) {
				for _, host := range hosts {
					for _, session := range host.Sessions() {
						for _, command := range session.Commands {
							if strings.HasPrefix(command, "AUTH") {
								commands = append(commands, command)
							}
						}
					}
				}
				return commands
			}
			before := len(got())
			client, err := dialer.Dial(t.Context(), test.domain, test.options...)
			if err != nil {
				t.Fatal(err)
			}
			err = client.Auth(smtp.PlainAuth("", "user", "secret", client.Host.Name))
			client.Quit()
			if sent := len(got()) - before; (err == nil) != test.want || (sent == 1) != test.want || sent > 1 {
				t.Errorf("Client.Auth: %v; AUTH was sent %d times", err, sent)
			}
			before = len(got())
			for session, err := range dialer.Sessions(t.Context(), test.domain, test.options...) {
				if err != nil {
					t.Fatal(err)
				}
				conn := textproto.NewConn(session.NetConn())
				for _, step := range []string{"", "EHLO x", "AUTH PLAIN AHVzZXIAc2VjcmV0"} {
					if step != "" {
						conn.PrintfLine("%s", step)
					}
					code, text, err := conn.ReadResponse(0)
					if err != nil {
						t.Fatal(err)
					}
					if step == "EHLO x" && strings.Contains(text, "AUTH") != test.want {
						t.Errorf("offered %q", text)
					}
					if strings.HasPrefix(step, "AUTH") && (code == 235) != test.want {
						t.Errorf("%s: %d %s", step, code, text)
					}
				}
				break
			}
			if sent := len(got()) - before; (sent == 1) != test.want || sent > 1 {
				t.Errorf("Session.NetConn: AUTH was sent %d times", sent)
			}
		})
	}
}
