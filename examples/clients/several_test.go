package clients

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/delivery"
	"github.com/mxseal/mxseal/policy/policytest"
)

// SendToAll has the result of SendMail for recipients of several domains: each gets the mail
// at the same host, or has an error of the same kind.
func TestSendToAll(t *testing.T) {
	t.Parallel()
	say := func(step string, replies ...string) policytest.Option {
		actions := make([]policytest.Action, len(replies))
		for i, reply := range replies {
			if reply != "" {
				actions[i] = policytest.Say(reply)
			}
		}
		return policytest.On(step, actions...)
	}
	const later, never = "450 4.2.0 later", "550 5.1.1 nobody"
	for name, test := range map[string]struct {
		mx, mx2 policytest.Option
		want    string // of a, b and c, recipients of the domain
	}{
		"all at the first host":           {nil, nil, "mx, mx, mx"},
		"one goes to the next host":       {say("RCPT", "", later, ""), nil, "mx, mx2, mx"},
		"all go to the next host":         {say("RCPT", later), nil, "mx2, mx2, mx2"},
		"one is refused":                  {say("RCPT", "", never, ""), nil, "mx, permanent, mx"},
		"each has another result":         {say("RCPT", "", later, never), nil, "mx, mx2, permanent"},
		"one waits":                       {say("RCPT", "", later, ""), say("RCPT", later), "mx, temporary, mx"},
		"the next host refuses":           {say("RCPT", later), say("RCPT", never), "permanent, permanent, permanent"},
		"the sender is refused":           {say("MAIL", never), nil, "permanent, permanent, permanent"},
		"the sender is deferred":          {say("MAIL", later), nil, "mx2, mx2, mx2"},
		"the message is deferred":         {say("DATA", "451 4.3.0 later"), nil, "mx2, mx2, mx2"},
		"the message is refused":          {say(policytest.EndOfData, "554 5.6.0 no"), nil, "permanent, permanent, permanent"},
		"the outcome is unknown":          {policytest.HangUp(policytest.EndOfData), nil, "temporary, temporary, temporary"},
		"the session ends at a recipient": {policytest.On("RCPT", policytest.Usual(), policytest.Disconnect()), nil, "mx2, mx2, mx2"},
		"goodbye at a recipient":          {policytest.On("RCPT", policytest.Usual(), policytest.Say("421 4.3.2 bye").ThenDisconnect()), nil, "mx2, mx2, mx2"},
		"DANE fails at both hosts":        {policytest.OtherKey, policytest.OtherKey, "temporary, temporary, temporary"},
		"DANE fails at the first host":    {policytest.OtherKey, nil, "mx2, mx2, mx2"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inet := policytest.New(t)
			host := func(name string, option policytest.Option) *policytest.Host {
				options := []policytest.Option{policytest.TLSA("3 1 1")}
				if option != nil {
					options = append(options, option)
				}
				return inet.Host(name, options...)
			}
			// The second domain is in U-labels, and has no trouble.
			hosts := map[string]*policytest.Host{}
			inet.Domain("example.test").MX("mx.example.test", "mx2.example.test")
			hosts["mx"], hosts["mx2"] = host("mx.example.test", test.mx), host("mx2.example.test", test.mx2)
			inet.Domain("xn--bcher-kva.test").MX("mx.xn--bcher-kva.test")
			hosts["other"] = host("mx.xn--bcher-kva.test", nil)
			to := []string{"a@example.test", "d@bücher.test", "b@EXAMPLE.test", "c@example.test"}
			dialer := &delivery.Dialer{Resolver: inet.Resolver(), LocalName: "sender.test"}

			// outcome returns what happened to a, b, c and d in mail with a return path.
			outcome := func(from string, failed map[string]error) string {
				var all []string
				for _, address := range []string{to[0], to[2], to[3], to[1]} {
					local, _, _ := strings.Cut(address, "@")
					var where []string
					for _, name := range slices.Sorted(maps.Keys(hosts)) {
						for _, message := range hosts[name].Messages() {
							for _, mailbox := range message.To {
								if message.From == from && strings.HasPrefix(mailbox, local+"@") && !strings.Contains(mailbox, "ü") {
									where = append(where, name)
								}
							}
						}
					}
					var failure *policy.Error
					switch {
					case errors.As(failed[address], &failure) && failure.Permanent:
						where = append(where, "permanent")
					case failure != nil:
						where = append(where, "temporary")
					}
					all = append(all, strings.Join(where, " and "))
				}
				return strings.Join(all, ", ")
			}
			want := test.want + ", other"
			if got := outcome("me@sender.test", SendToAll(t.Context(), dialer, "me@sender.test", to, hello.Message)); got != want {
				t.Errorf("by SendToAll: %s; want %s", got, want)
			}
			if got := outcome("it@sender.test", byAddress(t, dialer.SendMail(t.Context(), "it@sender.test", to, hello.Message))); got != want {
				t.Errorf("by SendMail: %s; want %s", got, want)
			}
		})
	}
}

// byAddress returns the errors that an error of SendMail has for each recipient.
func byAddress(t *testing.T, err error) map[string]error {
	t.Helper()
	failed := make(map[string]error)
	var undelivered *delivery.SendError
	if err != nil && !errors.As(err, &undelivered) {
		t.Fatal(err)
	}
	if undelivered != nil {
		for _, u := range undelivered.Undelivered {
			for _, address := range u.Recipients {
				failed[address] = fmt.Errorf("%s: %w", address, u.Err)
			}
		}
	}
	return failed
}
