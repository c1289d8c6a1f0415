package differential

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/dane/dnssec"
)

// A verdict is what a validator makes of an answer.
type verdict struct {
	status status
	answer string // "rcode: data", where it is known
	detail string
	told   []told
}

// A status is what a validator reports.
type status string

const (
	secure   status = "secure"
	insecure status = "insecure"
	bogus    status = "bogus"
	// failed is no verdict on the signatures: there is no answer to judge,
	// such as after SERVFAIL, or where aliases lead in a circle.
	failed status = "failed"
	// unasked is a validator that did not get round to it.
	unasked status = "unasked"
)

// kind is the status, all that is refused being called failed.
func (v verdict) kind() status {
	if v.status == bogus {
		return failed
	}
	return v.status
}

func (v verdict) says(words ...string) bool {
	return slices.ContainsFunc(words, func(word string) bool { return strings.Contains(v.detail, word) })
}

func ofOurs(answer *dnssec.Answer, err error, t uint16) verdict {
	if err == nil {
		return verdict{
			status: status(answer.Status.String()),
			answer: ourContent(answer, t),
			detail: fmt.Sprintf("at %s, aliases %v", answer.Name, answer.Aliases),
		}
	}
	v := verdict{status: failed, detail: err.Error()}
	var e *dnssec.Error
	switch {
	case !errors.As(err, &e):
		v.status = unasked
	case e.Timeout():
		v.status = unasked
	case e.Status == dnssec.Bogus:
		v.status = bogus
	}
	return v
}

const dnameForDS = "DS got DNAME answer"

func ofUnbound(reply *dns.Msg, t uint16) verdict {
	v := verdict{status: failed, detail: dns.RcodeToString[reply.Rcode]}
	if reply.Rcode == dns.RcodeSuccess || reply.Rcode == dns.RcodeNameError {
		v = verdict{status: insecure, answer: content(reply.Rcode, reply.Answer, t)}
		if reply.AuthenticatedData {
			v.status = secure
		}
		return v
	}
	for _, option := range reply.IsEdns0().Option {
		if ede, ok := option.(*dns.EDNS0_EDE); ok {
			v.detail += fmt.Sprintf(", EDE %d %q", ede.InfoCode, ede.ExtraText)
		}
	}
	// It asks for the DS records of a name below a DNAME, which there cannot be,
	// and gives up: that says nothing about the signatures.
	if v.says("validation failure") && !v.says(dnameForDS) {
		v.status = bogus
	}
	return v
}

var delvFailure = regexp.MustCompile(`resolution failed: (.*)`)

// delvBogus are the failures of delv that are verdicts on signatures and
// proofs. Others, such as "failure" after FORMERR or SERVFAIL and "operation
// canceled" after it has waited for itself, are none.
var delvBogus = []string{"broken trust chain", "insecurity proof failed", "must be secure", "no valid ", "RRSIG ",
	"got insecure response"}

// ofDelv reads what delv says. It reports a validated denial as a failed
// resolution ("ncache").
func ofDelv(text string) verdict {
	v := verdict{detail: text}
	failure := ""
	if found := delvFailure.FindStringSubmatch(text); found != nil {
		failure = found[1]
	}
	switch {
	case slices.ContainsFunc(delvBogus, func(known string) bool { return strings.HasPrefix(failure, known) }):
		v.status = bogus
	case failure != "" && !strings.HasPrefix(failure, "ncache"):
		v.status = failed
	case strings.Contains(text, "unsigned answer"), strings.Contains(text, "negative response, unsigned"),
		strings.Contains(text, "pending validation"): // in an insecure zone
		v.status = insecure
	case strings.Contains(text, "fully validated"):
		v.status = secure
	default:
		v.status = unasked
	}
	return v
}

// ourContent is the content of one of our answers. Its records must be such that
// others can read them.
func ourContent(answer *dnssec.Answer, t uint16) string {
	rcode := dns.RcodeSuccess
	if answer.NXDomain {
		rcode = dns.RcodeNameError
	}
	var records []dns.RR
	for _, record := range answer.Records {
		rr, err := dns.NewRR(record.String())
		if err != nil {
			return err.Error()
		}
		records = append(records, rr)
	}
	return content(rcode, records, t)
}

// content is what an answer says, in a comparable form. A DNAME that redirects
// the name is no part of that, even where DNAME records are asked for.
func content(rcode int, records []dns.RR, t uint16) string {
	var set []string
	for _, rr := range records {
		if rr.Header().Rrtype == t && !redirects(rr, records) {
			bare := dns.Copy(rr)
			bare.Header().Name, bare.Header().Ttl = ".", 0
			set = append(set, strings.ToLower(strings.TrimPrefix(bare.String(), ".\t0\tIN\t")))
		}
	}
	slices.Sort(set)
	return dns.RcodeToString[rcode] + ": " + strings.Join(slices.Compact(set), ", ")
}

// redirects reports whether an alias in the answer comes from the record.
func redirects(rr dns.RR, answer []dns.RR) bool {
	owner := rr.Header().Name
	return rr.Header().Rrtype == dns.TypeDNAME && slices.ContainsFunc(answer, func(other dns.RR) bool {
		name := other.Header().Name
		return other.Header().Rrtype == dns.TypeCNAME && dns.IsSubDomain(owner, name) && !strings.EqualFold(owner, name)
	})
}
