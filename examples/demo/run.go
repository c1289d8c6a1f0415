package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/delivery"
	"github.com/mxseal/mxseal/policy/policytest"
)

// trial is a scenario with its site and resolver.
type trial struct {
	scenario
	site     *site
	resolver *policy.Resolver
	sender   string // the return path, which identifies the message
}

// build adds the sites of all scenarios to an internet. Then it advances the
// clock by a day and starts the attacks against remembered policies.
func build(ctx context.Context, inet *policytest.Internet, all []scenario) ([]*trial, error) {
	w := &world{inet: inet, hosts: make(map[string]*policytest.Host)}
	shared, err := policy.New(inet.Config())
	if err != nil {
		return nil, err
	}
	trials := make([]*trial, len(all))
	for i, each := range all {
		t := &trial{scenario: each, site: &site{world: w, name: each.domain}, resolver: shared,
			sender: fmt.Sprintf("demo-%d@sender.test", i)}
		if each.config != nil {
			config := inet.Config()
			each.config(&config)
			if t.resolver, err = policy.New(config); err != nil {
				return nil, fmt.Errorf("%s: %w", each.domain, err)
			}
		}
		t.given.take(t.site)
		trials[i] = t
	}
	atOnce(trials, func(t *trial) {
		if t.nextDay != nil {
			t.resolver.Resolve(ctx, t.domain) // only remembers the policy; run checks the result
		}
	})
	for _, t := range trials {
		t.nextDay.take(t.site)
	}
	inet.Advance(24 * time.Hour)
	return trials, nil
}

// atOnce calls do for all trials concurrently.
func atOnce(trials []*trial, do func(*trial)) {
	var running sync.WaitGroup
	for _, t := range trials {
		running.Go(func() { do(t) })
	}
	running.Wait()
}

// result is the result of a trial.
type result struct {
	*trial
	got outcome
	// why is the reason in short form, explanation in long form.
	why, explanation string
	// wrong is the difference from the expected result, or nil.
	wrong error
}

// run sends the message of the scenario and looks for it at all mail hosts.
func (t *trial) run(ctx context.Context) result {
	r := result{trial: t}
	plan, err := t.resolver.Resolve(ctx, t.recipient(), t.options...)
	if err == nil {
		dialer := delivery.Dialer{Resolver: t.resolver, LocalName: "mail.sender.test", Recorder: t.site}
		err = dialer.SendMail(ctx, t.sender, []string{"you@" + t.recipient()}, t.message(), t.options...)
	}
	places := t.site.find(t.sender)
	switch {
	case err == nil && len(places) == 1:
		r.deliver(plan, places[0])
	case err == nil:
		r.got.mail = lost
	case len(places) > 0:
		r.got.mail, r.got.at = leaked, places[0].host
	default:
		r.fail(plan, err)
	}
	r.wrong = r.check()
	return r
}

// check compares the result with the expected one.
func (r *result) check() error {
	var wrong []error
	if r.got != r.want {
		wrong = append(wrong, fmt.Errorf("expected %q, got %q (%s)", r.want, r.got, r.explanation))
	}
	if r.also != nil {
		wrong = append(wrong, r.also(r.site))
	}
	return errors.Join(wrong...)
}

func (t *trial) message() []byte {
	return []byte(t.header + "From: " + t.sender + "\r\nSubject: " + t.situation + "\r\n\r\nHello.\r\n")
}

// place is a mail host that has received a message.
type place struct {
	host string
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
				places = append(places, place{name, message.Session.TLS != nil})
			}
		}
	}
	return places
}

// deliver sets the result of a message that was received.
func (r *result) deliver(plan *policy.Plan, at place) {
	host := hostOf(plan, at.host)
	if host == nil {
		r.got = outcome{mail: leaked, at: at.host}
		return
	}
	r.got = outcome{mail: encrypted, by: host.By, at: at.host}
	r.explanation = host.Why
	switch {
	case !at.tls:
		r.got.mail, r.why = inClear, "no TLS, and no policy"
	case host.Level < policy.Authenticated && host.By == 0:
		r.why = "TLS was offered"
	case host.Level < policy.Authenticated:
		r.why = "TLS is asked for"
	default:
		r.got.mail, r.why = authenticated, proof(host)
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
func (r *result) fail(plan *policy.Plan, err error) {
	r.explanation = err.Error()
	var failure *policy.Error
	if !errors.As(err, &failure) {
		r.got.mail = lost
		return
	}
	r.got.mail = waits
	if failure.Permanent {
		r.got.mail = returned
	}
	if plan != nil && len(plan.Hosts) > 0 {
		r.got.by = plan.Hosts[0].By
	}
	reason, code := failure.TLSReport()
	switch {
	case reason == "":
		r.got.reason, r.why = failure.Status, fmt.Sprint(failure.Code(), " ", failure.Status)
	case code == "":
		r.got.reason, r.why = reason, reason
	default:
		r.got.reason, r.why = reason+"/"+code, code
		if len(code) > whyWidth {
			r.why = reason
		}
	}
}

// all returns the scenarios of all groups, in order.
func all(groups []group) []scenario {
	var list []scenario
	for _, g := range groups {
		list = slices.Concat(list, g.scenarios)
	}
	return list
}
