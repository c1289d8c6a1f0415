package valkeystore

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"

	"github.com/mxseal/mxseal/internal/names"
	"github.com/mxseal/mxseal/tlsrpt"
	"github.com/mxseal/mxseal/tlsrpt/report"
	"github.com/mxseal/mxseal/tlsrpt/reporter"
)

const (
	// maxPolicies and maxDetails limit the sums of one domain and day, as in an
	// Aggregator. maxText limits the text of its policies and details, in
	// octets.
	maxPolicies = 256
	maxDetails  = 1000
	maxText     = 512 << 10

	// maxBatchDomains, maxBatchSums and maxBatchText limit the work of the server in one
	// call. An Aggregator stays within the first two. Texts beyond the second are
	// replaced with their alternatives, so that a few mail hosts with long
	// texts cannot block all sums.
	maxBatchDomains = 512
	maxBatchSums    = 1 << 14
	maxBatchText    = 8 << 20

	// maxCount is the largest number that a report can contain and that Lua
	// counts exactly.
	maxCount = 1<<53 - 1
)

// dayDomain is the key of sums.
type dayDomain struct {
	day    report.Day
	domain string
}

// addition is what to add to the sums of a domain and day. Each text has an
// alternative, which is counted instead if there are too many texts.
type addition struct {
	dayDomain
	policies []policySum
}

type policySum struct {
	policy, alternative namedPolicy
	summary             report.Summary
	details             []detailSum
}

type detailSum struct {
	text, alternative string
	sessions          int64
}

// namedPolicy is a policy in JSON and its ID.
type namedPolicy struct{ id, text string }

// policyForm returns the stored form of a policy: an element of a report,
// without sessions.
func policyForm(p tlsrpt.Policy) namedPolicy {
	text, err := report.PolicyResult{Policy: p}.MarshalJSON()
	if err != nil {
		panic(err) // cannot fail for any policy
	}
	return namedPolicy{policyID(string(text)), string(text)}
}

func policyID(text string) string {
	hash := sha256.Sum256([]byte(text))
	return hex.EncodeToString(hash[:idOctets/2])
}

const idOctets = 32

// detailForm returns the stored form of a detail: an element of a report,
// without sessions.
func detailForm(d report.Detail) string {
	d.Sessions = 0
	text, err := d.MarshalJSON()
	if err != nil {
		panic(err) // cannot fail for any detail
	}
	return string(text)
}

// refusal is the error for sums that can never be stored.
type refusal struct{ domain, why string }

func refuse(domain, why string) error { return &refusal{domain, why} }

func (r *refusal) Error() string {
	return names.Printable(fmt.Sprintf("valkeystore: sums of %.260q not added: %s", r.domain, r.why), maxDetail)
}

// Is makes an Aggregator count the sums as dropped and continue with others.
func (r *refusal) Is(target error) bool { return target == reporter.ErrStoreFull }

// additions returns what to add, with one element for each domain and day.
func additions(b *reporter.Batch) ([]addition, error) {
	if b.Number < 1 || b.Number > maxCount {
		return nil, fmt.Errorf("valkeystore: invalid batch number %d", b.Number)
	}
	results := make(map[dayDomain][]report.PolicyResult, len(b.Sums))
	var order []dayDomain
	size := 0
	for i := range b.Sums {
		sums := &b.Sums[i]
		if why := check(sums); why != "" {
			return nil, refuse(sums.Domain, why)
		}
		key := dayDomain{sums.Day, sums.Domain}
		if _, known := results[key]; !known {
			order = append(order, key)
		}
		results[key] = append(results[key], sums.Results...)
		size++
		for j := range sums.Results {
			size += 1 + len(sums.Results[j].Details)
		}
	}
	if size > maxBatchSums {
		return nil, fmt.Errorf("valkeystore: batch of %d sums is too large", size)
	}
	var all []addition
	text := 0
	for _, key := range order {
		a := newAddition(key, results[key])
		if len(a.policies) > 0 {
			all = append(all, a)
			text += a.text()
		}
	}
	if text > maxBatchText {
		for i := range all {
			all[i].shorten(maxBatchText / len(all))
		}
	}
	return all, nil
}

// check returns why sums cannot be stored, or "".
func check(sums *reporter.DomainSums) string {
	if !isDomain(sums.Domain) {
		return "not a valid domain name"
	}
	for i := range sums.Results {
		counts := []int64{sums.Results[i].Summary.Successes, sums.Results[i].Summary.Failures}
		for j := range sums.Results[i].Details {
			counts = append(counts, sums.Results[i].Details[j].Sessions)
		}
		if slices.Min(counts) < 0 || slices.Max(counts) > maxCount {
			return "a count is out of range"
		}
	}
	return ""
}

func newAddition(key dayDomain, results []report.PolicyResult) addition {
	a := addition{dayDomain: key}
	for _, result := range reporter.MergeResults(key.domain, nil, results) {
		p := policySum{
			policy:      policyForm(result.Policy),
			alternative: policyForm(tlsrpt.Policy{Type: result.Policy.Type, Domain: key.domain}),
			summary:     result.Summary,
		}
		for _, d := range result.Details {
			omitted := report.Detail{Type: d.Type, ReasonCode: reporter.DetailsOmitted}
			p.details = append(p.details, detailSum{detailForm(d), detailForm(omitted), d.Sessions})
		}
		a.policies = append(a.policies, p)
	}
	return a
}

// text returns the size of all texts, in octets.
func (a *addition) text() int {
	n := 0
	for _, p := range a.policies {
		n += len(p.policy.text)
		for _, d := range p.details {
			n += len(d.text)
		}
	}
	return n
}

// shorten keeps up to max octets of text and replaces the other texts with
// their alternatives.
func (a *addition) shorten(max int) {
	takes := func(text string) bool {
		if len(text) > max {
			return false
		}
		max -= len(text)
		return true
	}
	for i := range a.policies {
		p := &a.policies[i]
		if !takes(p.policy.text) {
			p.policy = p.alternative
		}
		for j := range p.details {
			if d := &p.details[j]; !takes(d.text) {
				d.text = d.alternative
			}
		}
	}
}

// command returns the keys and arguments for addScript.
func (r *Reports) command(b *reporter.Batch, all []addition) (keys, args []string) {
	days := make(map[report.Day]int) // the index of each day, from 1
	var order []report.Day
	for _, a := range all {
		if days[a.day] == 0 {
			order = append(order, a.day)
			days[a.day] = len(order)
		}
	}
	keys = append(keys, r.keys.writer(b.Writer), r.keys.days)
	args = append(args, number(b.Number), seconds(keepWriter), seconds(keepSums), strconv.Itoa(r.maxDomains),
		strconv.Itoa(maxPolicies), strconv.Itoa(maxDetails), strconv.Itoa(maxText),
		strconv.Itoa(len(order)), strconv.Itoa(len(all)))
	for _, day := range order {
		keys = append(keys, r.keys.domains(day))
		args = append(args, number(int64(day)))
	}
	for i := range all {
		a := &all[i]
		keys = append(keys, r.keys.open(a.day, a.domain))
		args = append(args, strconv.Itoa(days[a.day]), a.domain)
		args = a.append(args)
	}
	return keys, args
}

// append appends all policies and then all their details to args.
func (a *addition) append(args []string) []string {
	args = append(args, strconv.Itoa(len(a.policies)))
	for _, p := range a.policies {
		args = append(args, p.policy.id, p.policy.text, p.alternative.id, p.alternative.text,
			number(p.summary.Successes), number(p.summary.Failures), strconv.Itoa(len(p.details)))
	}
	for _, p := range a.policies {
		for _, d := range p.details {
			args = append(args, d.text, d.alternative, number(d.sessions))
		}
	}
	return args
}
