//go:build linux

package bigsender

import (
	"fmt"
	"net/http"
	"sync/atomic"

	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/policy/policytest"
)

// world is the internet of the day, with an attacker in it.
type world struct {
	inet    *policytest.Internet
	domains int
	hosts   []*policytest.Host // those of the recipients
	evil    *policytest.Host
	exit    *exit

	// What is wrong at the moment.
	dnsDown, policyHostsDown atomic.Bool
	forging                  atomic.Bool

	reports *reportSink
}

const (
	evilHost   = "mx.evil.hosting"
	reportHost = "reports.hosting.collector"
)

// newWorld makes an internet with this number of domains.
func newWorld(tb policytest.TB, domains int) *world {
	w := &world{inet: policytest.New(tb), domains: domains, reports: newReportSink()}
	for p := range providers {
		var options []policytest.Option
		if p < providers/2 {
			options = append(options, policytest.TLSA("3 1 1"))
		}
		w.hosts = append(w.hosts, w.inet.Host(providerHost(p, 1), options...), w.inet.Host(providerHost(p, 2), options...))
	}
	w.evil = w.inet.Host(evilHost)
	w.inet.Web(reportHost, w.reports)
	for d := range domain(domains) {
		w.add(d)
	}
	w.inet.BreakDNSBelow(w.answer, ".")
	w.exit = newExit(tb, w)
	return w
}

// add adds a domain with its hosts and its policy.
func (w *world) add(d domain) {
	var options []policytest.DomainOption
	if !d.isSigned() {
		options = append(options, policytest.Unsigned)
	}
	zone := w.inet.Domain(d.name(), options...)
	if d.kind() == nullMX {
		zone.MX(".")
		return
	}
	zone.MX(d.hosts()...)
	if d.hasOwnHost() {
		w.hosts = append(w.hosts, w.inet.Host("mx."+d.name(), ownHost(d.kind())...))
	}
	if mode := d.policyMode(); mode != "" {
		listed := d.hosts()
		if d.kind() == notListed {
			listed = []string{"mx.elsewhere.hosting"}
		}
		zone.Policy(mode, listed...)
	}
	if d.kind() == noPolicy {
		zone.Policy("enforce", d.hosts()...).Break(policytest.Status(http.StatusNotFound))
	}
	if d.wantsReports() {
		zone.Add(fmt.Sprintf("_smtp._tls TXT \"v=TLSRPTv1; rua=https://%s/%s\"", reportHost, d.name()))
	}
}

// ownHost returns the properties of a mail host that serves one domain.
func ownHost(k kind) []policytest.Option {
	tlsa := policytest.TLSA("3 1 1")
	switch k {
	case daneHosts, noAnswer:
		return []policytest.Option{tlsa}
	case wrongKey:
		return []policytest.Option{tlsa, policytest.OtherKey}
	case noTLS, cleartext:
		return []policytest.Option{policytest.NoSTARTTLS}
	case down:
		return []policytest.Option{policytest.Refuse}
	case expired:
		return []policytest.Option{policytest.Expired}
	}
	return nil
}

// answer changes the replies of the resolver: by the faults of domains, an outage, and
// the attacker. nil means that there is no reply.
func (w *world) answer(q policytest.Question, reply []byte) []byte {
	if w.dnsDown.Load() {
		return nil
	}
	d, ok := domainOf(q.Name)
	if !ok {
		return reply
	}
	switch {
	case d.kind() == bogus:
		reply = policytest.Bogus(q, reply)
	case d.kind() == noAnswer && q.Type == dnssec.TypeTLSA:
		return policytest.ServFail(q, reply)
	}
	if w.forging.Load() {
		return w.forge(d, q, reply)
	}
	return reply
}

// forge is the attacker between the relays and their resolver. Every other domain
// gets the attacker's MX record, and nobody has a policy or TLSA records.
func (w *world) forge(d domain, q policytest.Question, reply []byte) []byte {
	switch {
	case q.Type == dnssec.TypeMX && d.mix(5)%2 == 0:
		return policytest.Forge(q.Name+" 60 IN MX 0 "+evilHost+".")(q, reply)
	case q.Type == dnssec.TypeTLSA, q.Type == dnssec.TypeTXT:
		return policytest.Forge()(q, reply)
	}
	return reply
}
