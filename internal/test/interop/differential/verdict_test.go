package differential

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/internal/test/interop/dnsserver"
)

// A verdict is the result of one validator for one question.
type verdict struct {
	status status
	answer string // "rcode: data" if known
	detail string
	told   []told
}

// A status is what a validator reports.
type status string

const (
	secure   status = "secure"
	insecure status = "insecure"
	bogus    status = "bogus"
	// failed means that there was no answer to validate, for example after
	// SERVFAIL or for a loop of aliases.
	failed status = "failed"
	// unasked means that the validator was not asked because the test ran out
	// of time.
	unasked status = "unasked"
)

// kind returns the status, with bogus replaced by failed.
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
	if opt := reply.IsEdns0(); opt != nil {
		for _, option := range opt.Option {
			if ede, ok := option.(*dns.EDNS0_EDE); ok {
				v.detail += fmt.Sprintf(", EDE %d %q", ede.InfoCode, ede.ExtraText)
			}
		}
	}
	// It queries DS records of a name below a DNAME, which cannot exist, and
	// fails. That is not a verdict on the signatures.
	if v.says("validation failure") && !v.says(dnameForDS) {
		v.status = bogus
	}
	return v
}

var delvFailure = regexp.MustCompile(`resolution failed: (.*)`)

// delvBogus are the errors of delv that are verdicts on signatures and proofs.
// Others are not, such as "failure" after FORMERR or SERVFAIL and "operation
// canceled" after it has hung.
var delvBogus = []string{"broken trust chain", "insecurity proof failed", "must be secure", "no valid ", "RRSIG ",
	"got insecure response"}

// ofDelv parses the output of delv. delv reports a validated denial as a failed
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

// ourContent returns the content of one of our answers. It also checks that the
// records can be parsed by other programs.
func ourContent(answer *dnssec.Answer, t uint16) string {
	rcode := dns.RcodeSuccess
	if answer.NXDomain {
		rcode = dns.RcodeNameError
	}
	records, err := dnsserver.RRs(answer)
	if err != nil {
		return err.Error()
	}
	return content(rcode, records, t)
}

// content returns the content of an answer in a comparable form. It omits the
// DNAME that redirects the name, even if the question is for DNAME records.
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

// redirects reports whether an alias in the answer was synthesized from the
// DNAME rr.
func redirects(rr dns.RR, answer []dns.RR) bool {
	owner := rr.Header().Name
	return rr.Header().Rrtype == dns.TypeDNAME && slices.ContainsFunc(answer, func(other dns.RR) bool {
		name := other.Header().Name
		return other.Header().Rrtype == dns.TypeCNAME && dns.IsSubDomain(owner, name) && !strings.EqualFold(owner, name)
	})
}
