package situations

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/delivery"
	"github.com/mxseal/mxseal/policy/policytest"
	"github.com/mxseal/mxseal/tlsrpt"
)

// maxWhy is the width of the column of the demo for Result.Why.
const maxWhy = 25

// Trial is a situation with its site and resolver.
type Trial struct {
	Situation
	site     *site
	resolver *policy.Resolver
	sender   string // the return path, which identifies the message
}

// Build adds the sites of all situations to an internet. Then it advances the
// clock by a day and starts the attacks against remembered policies. The domains must differ.
func Build(ctx context.Context, inet *policytest.Internet, all []Situation) ([]*Trial, error) {
	w := &world{inet: inet, hosts: make(map[string]*policytest.Host)}
	shared, err := policy.New(inet.Config())
	if err != nil {
		return nil, err
	}
	trials := make([]*Trial, len(all))
	for i, each := range all {
		t := &Trial{Situation: each, site: &site{world: w, name: each.Domain}, resolver: shared,
			sender: fmt.Sprintf("demo-%d@sender.test", i)}
		if each.config != nil {
			config := inet.Config()
			each.config(&config)
			if t.resolver, err = policy.New(config); err != nil {
				return nil, fmt.Errorf("%s: %w", each.Domain, err)
			}
		}
		t.given.take(t.site)
		trials[i] = t
	}
	AtOnce(trials, func(t *Trial) {
		if t.nextDay != nil {
			t.resolver.Resolve(ctx, t.Domain) // only remembers the policy; Run checks the result
		}
	})
	for _, t := range trials {
		t.nextDay.take(t.site)
	}
	inet.Advance(24 * time.Hour)
	return trials, nil
}

// atOnce is how many trials run at the same time. With more, each DNS query on a busy
// machine would wait for so many others that it exceeds its timeout.
const atOnce = 8

// AtOnce calls do for all trials, several at a time.
func AtOnce(trials []*Trial, do func(*Trial)) {
	var running sync.WaitGroup
	turns := make(chan struct{}, atOnce)
	for _, t := range trials {
		turns <- struct{}{}
		running.Go(func() {
			defer func() { <-turns }()
			do(t)
		})
	}
	running.Wait()
}

// Plan returns the plan for the message.
func (t *Trial) Plan(ctx context.Context) (*policy.Plan, error) {
	return t.resolver.Resolve(ctx, t.Recipient(), t.options...)
}

// Reports returns the sessions that were recorded for TLS-RPT, in order.
func (t *Trial) Reports() []tlsrpt.Session {
	t.site.reports.Lock()
	defer t.site.reports.Unlock()
	return slices.Clone(t.site.report)
}

// Result is the result of a trial.
type Result struct {
	*Trial
	Got Outcome
	// Why is the reason in a short form that fits into a column of the demo.
	// Explanation is its long form.
	Why, Explanation string
	// Wrong is the difference from the expected result, or nil.
	Wrong error
}

// Send sends a message to one recipient with a Dialer and any client. Its errors are a
// *policy.Error, or wrap one.
type Send func(ctx context.Context, dialer *delivery.Dialer, from, to string, message []byte, options ...policy.Option) error

// SendMail is the Send of package delivery.
func SendMail(ctx context.Context, dialer *delivery.Dialer, from, to string, message []byte, options ...policy.Option) error {
	return dialer.SendMail(ctx, from, []string{to}, message, options...)
}

// Run sends the message of the situation and looks for it at all mail hosts.
func (t *Trial) Run(ctx context.Context, send Send) Result {
	r := Result{Trial: t}
	plan, err := t.Plan(ctx)
	dialer := &delivery.Dialer{Resolver: t.resolver, LocalName: "mail.sender.test", Recorder: t.site}
	if failed := send(ctx, dialer, t.sender, "you@"+t.Recipient(), t.message(), t.options...); err == nil {
		err = failed
	}
	places := t.site.find(t.sender)
	switch {
	case err == nil && len(places) == 1:
		r.deliver(plan, places[0])
	case err == nil:
		r.Got.Mail = Lost
	case len(places) > 0:
		r.Got.Mail, r.Got.At = Leaked, places[0].host
	default:
		r.fail(plan, err)
	}
	r.Wrong = r.check()
	return r
}

// check compares the result with the expected one.
func (r *Result) check() error {
	var wrong []error
	if r.Got != r.Want {
		wrong = append(wrong, fmt.Errorf("expected %q, got %q (%s)", r.Want, r.Got, r.Explanation))
	}
	if r.also != nil {
		wrong = append(wrong, r.also(r.site))
	}
	return errors.Join(wrong...)
}

func (t *Trial) message() []byte {
	return []byte(t.header + "From: " + t.sender + "\r\nSubject: " + t.Title + "\r\n\r\nHello.\r\n")
}

// place is a mail host that has received a message.
type place struct {
	host string
	to   string
	tls  bool
}

// find finds a message by its return path, at all hosts.
func (w *world) find(sender string) []place {
	w.mu.Lock()
	defer w.mu.Unlock()
	var places []place
	for name, host := range w.hosts {
		for _, message := range host.Messages() {
			if message.From == sender {
				places = append(places, place{name, strings.Join(message.To, " "), message.Session.TLS != nil})
			}
		}
	}
	return places
}

// deliver sets the result of a message that was received.
func (r *Result) deliver(plan *policy.Plan, at place) {
	host := hostOf(plan, at.host)
	if host == nil || at.to != "you@"+plan.Domain { // in A-labels
		r.Got, r.Explanation = Outcome{Mail: Leaked, At: at.host}, "to "+at.to
		return
	}
	r.Got = Outcome{Mail: Encrypted, By: host.By, At: at.host}
	r.Explanation = host.Why
	switch {
	case !at.tls:
		r.Got.Mail, r.Why = InClear, "no TLS, and no policy"
	case host.Level < policy.Authenticated && host.By == 0:
		r.Why = "TLS was offered"
	case host.Level < policy.Authenticated:
		r.Why = "TLS is asked for"
	default:
		r.Got.Mail, r.Why = Authenticated, proof(host)
	}
}

// proof returns how a host was authenticated.
func proof(host *policy.Host) string {
	switch {
	case host.By.Has(policy.ByDANE | policy.ByMTASTS):
		return "TLSA; listed and valid"
	case host.By.Has(policy.ByDANE) && !host.RouteAuthenticated:
		return "TLSA; the route is open"
	case host.By.Has(policy.ByDANE):
		return "TLSA record matches"
	case host.By.Has(policy.ByMTASTS):
		return "listed, and valid"
	default:
		return "certificate valid"
	}
}

// hostOf returns the host of a plan for the name under which the plan reached a
// mail host: its own name, an alias, or an address literal.
func hostOf(plan *policy.Plan, name string) *policy.Host {
	if host := plan.Host(name); host != nil {
		return host
	}
	for _, host := range plan.Hosts {
		if host.ServerName == "" {
			return host // an address literal
		}
		if host.DANE == nil {
			continue
		}
		for _, alias := range host.DANE.Aliases {
			if alias.Target == name+"." {
				return host
			}
		}
	}
	return nil
}

// fail sets the result of a message that was not received.
func (r *Result) fail(plan *policy.Plan, err error) {
	r.Explanation = err.Error()
	var failure *policy.Error
	if !errors.As(err, &failure) {
		r.Got.Mail = Lost
		return
	}
	r.Got.Mail = Waits
	if failure.Permanent {
		r.Got.Mail = Returned
	}
	if plan != nil && len(plan.Hosts) > 0 {
		r.Got.By = plan.Hosts[0].By
	}
	reason, code := failure.TLSReport()
	switch {
	case reason == "":
		r.Got.Reason, r.Why = failure.Status, fmt.Sprint(failure.Code(), " ", failure.Status)
	case code == "":
		r.Got.Reason, r.Why = reason, reason
	default:
		r.Got.Reason, r.Why = reason+"/"+code, code
		if len(code) > maxWhy {
			r.Why = reason
		}
	}
}
