package clients

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/delivery"
	"github.com/mxseal/mxseal/policy/policytest"
)

// courier has the loop of a mail server that has its own: chasquid's courier. Its
// interface is that of chasquid: an error, and whether it is permanent. It looks up
// mail hosts, checks each against MTA-STS, connects, verifies, sends, and goes on to
// the next host. For each it logs the level of TLS.
type courier struct {
	dialer *delivery.Dialer
	client Client
	// mailHosts returns the hosts to try, in order. nil means those of the plan.
	mailHosts func(*policy.Plan) []string
	// atLeast is the level that the server remembers for the domain; 0 means none.
	atLeast policy.Level
	logged  []string
}

func (c *courier) deliver(ctx context.Context, domain string, mail Mail) (err error, permanent bool) {
	plan, err := c.dialer.Resolver.Resolve(ctx, domain, policy.AtLeast(cmp.Or(c.atLeast, policy.Opportunistic)))
	if err != nil {
		return c.failed(err)
	}
	tried := plan
	for {
		failures, err := c.hosts(ctx, tried, mail)
		if err == nil {
			return nil, false
		}
		if len(failures) == 0 {
			return c.failed(err)
		}
		fresh, changed, recheck := c.dialer.Resolver.Recheck(ctx, tried)
		if recheck != nil || !changed || tried != plan {
			return c.failed(tried.Failed(failures...))
		}
		tried = fresh
	}
}

// hosts tries the hosts of a plan. It returns the failures of all, or none and the
// error that the next host would not change.
func (c *courier) hosts(ctx context.Context, plan *policy.Plan, mail Mail) ([]*policy.Error, error) {
	var failures []*policy.Error
	for _, name := range c.names(plan) {
		session, err := c.dialer.DialHost(ctx, plan, name)
		var failure *policy.Error
		if errors.As(err, &failure) {
			failures = append(failures, failure)
			continue
		}
		if err != nil {
			return nil, err
		}
		state, encrypted := session.TLS()
		c.logged = append(c.logged, describe(session.Host, state, encrypted))
		failed := session.Failure(c.client(ctx, session, mail))
		session.Close()
		if failed == nil {
			return nil, nil
		}
		if !failed.NextHost {
			return nil, failed.Err
		}
		failures = append(failures, failed.Err)
	}
	return failures, errors.New("all mail hosts failed")
}

func (c *courier) names(plan *policy.Plan) []string {
	if c.mailHosts != nil {
		return c.mailHosts(plan)
	}
	var names []string
	for _, host := range plan.Hosts {
		names = append(names, host.Name)
	}
	return names
}

func (c *courier) failed(err error) (error, bool) {
	var failure *policy.Error
	return err, errors.As(err, &failure) && failure.Permanent
}

func describe(host *policy.Host, state tls.ConnectionState, encrypted bool) string {
	version := "clear"
	if encrypted {
		version = tls.VersionName(state.Version)
	}
	return fmt.Sprintf("%s %v %v %s", host.Name, host.Level, host.By, version)
}

// What the loop of chasquid's courier needs is in the API.
func TestCourierLoopFitsAPI(t *testing.T) {
	t.Parallel()
	const domain, first, second = "example.test", "mx.example.test", "mx2.example.test"
	for _, test := range []struct {
		need      string
		signing   []policytest.DomainOption
		first     []policytest.Option
		second    []policytest.Option
		listed    string // by a policy in mode enforce
		mailHosts func(*policy.Plan) []string
		atLeast   policy.Level
		nullMX    bool
		meanwhile string // after the domain was looked up, its policy lists this host only, and the first host loses STARTTLS
		from      string // the return path

		delivered string // to this host
		permanent bool
		logged    []string
		reports   string
	}{
		{
			need:  "the next host follows one that fails to verify",
			first: []policytest.Option{policytest.TLSA(wrongKey)}, second: []policytest.Option{policytest.TLSA("3 1 1")},
			delivered: second, logged: []string{second + " authenticated DANE TLS 1.3"},
		},
		{
			need:  "the next host follows one that says 4yz",
			first: []policytest.Option{policytest.TLSA("3 1 1"), policytest.Reply("RCPT", "450 4.2.0 later")}, second: []policytest.Option{policytest.TLSA("3 1 1")},
			delivered: second, logged: []string{first + " authenticated DANE TLS 1.3", second + " authenticated DANE TLS 1.3"},
			reports: "mx tlsa, mx2 tlsa",
		},
		{
			need:  "5yz is permanent, and no other host is asked",
			first: []policytest.Option{policytest.TLSA("3 1 1"), policytest.Reply("RCPT", "550 5.1.1 nobody")}, second: []policytest.Option{policytest.TLSA("3 1 1")},
			permanent: true, logged: []string{first + " authenticated DANE TLS 1.3"}, reports: "mx tlsa",
		},
		{
			need:  "a failure of TLS at all hosts is temporary",
			first: []policytest.Option{policytest.TLSA("3 1 1"), policytest.NoSTARTTLS}, second: []policytest.Option{policytest.TLSA("3 1 1"), policytest.NoSTARTTLS},
			reports: "mx tlsa starttls-not-supported, mx2 tlsa starttls-not-supported",
		},
		{
			need:    "a host that the policy of MTA-STS does not list gets no connection",
			signing: []policytest.DomainOption{policytest.Unsigned}, listed: second,
			delivered: second, logged: []string{second + " authenticated MTA-STS TLS 1.3"},
		},
		{
			need:      "the list of mail hosts is the server's own, and a host outside the plan is refused",
			signing:   []policytest.DomainOption{policytest.Unsigned},
			mailHosts: func(*policy.Plan) []string { return []string{"stray.test", second} },
			delivered: second, logged: []string{second + " opportunistic none TLS 1.3"},
		},
		{
			need:    "cleartext is used where no policy applies, and is known",
			signing: []policytest.DomainOption{policytest.Unsigned}, first: []policytest.Option{policytest.NoSTARTTLS},
			delivered: first, logged: []string{first + " opportunistic none clear"},
		},
		{
			need:    "the level that the server remembers is the least",
			signing: []policytest.DomainOption{policytest.Unsigned}, first: []policytest.Option{policytest.NoSTARTTLS}, atLeast: policy.Encrypted,
			delivered: second, logged: []string{second + " encrypted operator TLS 1.3"},
		},
		{
			need:    "a policy that has changed is looked up again before the mail waits",
			signing: []policytest.DomainOption{policytest.Unsigned}, listed: first, meanwhile: second,
			delivered: second, logged: []string{second + " authenticated MTA-STS TLS 1.3"},
		},
		{
			need:  "a bounce has no return path",
			first: []policytest.Option{policytest.TLSA("3 1 1")}, from: "<>",
			delivered: first, logged: []string{first + " authenticated DANE TLS 1.3"},
		},
		{need: "a domain that takes no mail is permanent", nullMX: true, permanent: true},
	} {
		t.Run(test.need, func(t *testing.T) {
			t.Parallel()
			inet := policytest.New(t)
			d := inet.Domain(domain, test.signing...)
			hosts := map[string]*policytest.Host{first: inet.Host(first, test.first...), second: inet.Host(second, test.second...)}
			d.MX(first, second)
			if test.nullMX {
				d.MX(".")
			}
			if test.listed != "" {
				d.Policy("enforce", test.listed)
			}
			var reports recorder
			c := &courier{
				dialer: &delivery.Dialer{Resolver: inet.Resolver(), Recorder: &reports, LocalName: "sender.test"},
				client: NetSMTP, mailHosts: test.mailHosts, atLeast: test.atLeast,
			}
			mail := hello
			if test.from != "" {
				mail.From = strings.Trim(test.from, "<>")
			}
			if test.meanwhile != "" {
				change := sync.OnceFunc(func() {
					d.Policy("enforce", test.meanwhile)
					hosts[first].Break(policytest.NoSTARTTLS)
					inet.Advance(2 * time.Hour) // the record of the policy is in a cache until then
				})
				c.mailHosts = func(*policy.Plan) []string {
					change()
					return []string{first, second}
				}
			}
			err, permanent := c.deliver(t.Context(), domain, mail)
			if (err == nil) != (test.delivered != "") || permanent != test.permanent {
				t.Errorf("error %v, permanent %v", err, permanent)
			}
			for name, host := range hosts {
				if got := len(host.Messages()); (got == 1) != (name == test.delivered) || got > 1 {
					t.Errorf("%s has %d messages", name, got)
				}
			}
			if !slices.Equal(c.logged, test.logged) {
				t.Errorf("logged %q, want %q", c.logged, test.logged)
			}
			if got := reports.String(); test.reports != "" && got != test.reports {
				t.Errorf("recorded %q, want %q", got, test.reports)
			}
			if connections := len(hosts[first].Sessions()); test.listed == second && connections > 0 {
				t.Errorf("%d connections to the host that is not listed", connections)
			}
		})
	}
}
