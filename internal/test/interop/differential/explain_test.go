package differential

import (
	"slices"

	"github.com/miekg/dns"
)

// A difference is a known kind of disagreement, and says which validator is
// right.
type difference struct {
	name string
	is   func(*outcome) bool
}

// wrong returns why our verdict is wrong regardless of the others, or "". A
// secure answer that is not in the tree is wrong, and so is an insecure answer
// in a completely signed part of the tree. A secure verdict on an altered reply
// that both others call bogus is wrong too, unless unbound has the same verdict
// on intact replies.
func (o *outcome) wrong() string {
	altered := o.mutation.Kind != "" && !o.dnameTakenForAnother()
	switch {
	case altered && o.ours.status == secure && o.unbound.status == bogus && o.delv.status == bogus:
		return "ours takes for secure what both others call bogus"
	case o.ours.status == secure && o.ours.answer != o.truth.answer:
		return "ours takes for secure what the tree does not have: " + o.truth.answer
	case o.ours.status == insecure && !o.truth.doubted:
		return "ours takes for insecure what is in a signed zone"
	}
	return ""
}

// explain returns the reason for a difference, or "".
func explain(o *outcome) string {
	for _, d := range differences {
		if d.is(o) {
			return d.name
		}
	}
	return ""
}

// differences are the known differences.
var differences = []difference{
	// The others accept more than ours.
	{"delv takes an opt-out denial for proof", func(o *outcome) bool {
		return o.ours.status == insecure && o.delv.status == secure && o.unbound.status != secure && o.truth.doubted
	}},
	{"unbound uses SHA-1 beside SHA-256", func(o *outcome) bool {
		return o.ours.kind() == failed && o.ours.says("bogus-ds-mismatch") && o.delv.kind() == failed
	}},
	{"the header contradicts the rest", func(o *outcome) bool {
		return o.ours.kind() == failed && o.ours.says("says NXDOMAIN", "says NOERROR", "rcode")
	}},
	// The end of an alias is asked for as the answer and as a link of the chain of trust. A
	// reply to the second that contradicts itself is not asked for again, because the two
	// could take more memory than a lookup has.
	{"ours has no memory left to ask again for DS records", func(o *outcome) bool {
		return o.ours.status == failed && o.question.Type == dns.TypeDS && o.ours.says("octets of memory for replies")
	}},
	{"ours refuses records that do not belong there", func(o *outcome) bool {
		return o.ours.kind() == failed && o.ours.says("do not belong there", "the SOA record is that of", "bogus-alias")
	}},
	{"what lies beside the proof does not verify", func(o *outcome) bool {
		return o.ours.kind() == failed && o.ours.says("bogus-signature", "bogus-key-missing") && o.altersBeside()
	}},
	{"unbound does not ask for all of a wildcard proof", func(o *outcome) bool {
		return o.ours.kind() == failed && o.ours.says("bogus-denial-missing") && o.unbound.status == secure && o.delv.kind() == failed
	}},
	{"unbound keeps the first of several aliases", func(o *outcome) bool {
		return o.ours.kind() == failed && o.ours.says("CNAME of", "DNAME of", "bogus-alias") && o.unbound.kind() != failed && o.delv.kind() == failed
	}},
	// Nothing denies a delegation at an acceptable price (RFC 9276 section 3.2), so the
	// two records may be in an unsigned zone. unbound drops the forged one first.
	{"unbound keeps the first of several aliases, where ours and delv find no signed zone", func(o *outcome) bool {
		return o.kinds() == [3]status{insecure, secure, insecure} && o.truth.doubted && o.mutation.Kind == "data added" &&
			o.mutation.At.Type == dns.TypeCNAME && o.unbound.answer == o.truth.answer && o.ours.answer != o.truth.answer
	}},
	{"ours takes proofs from the authority section only", func(o *outcome) bool {
		return o.ours.kind() == failed && o.ours.says("bogus-denial-missing") && o.mutation.Kind == "denial to answer"
	}},
	{"unbound takes a denial that was expanded from a wildcard", func(o *outcome) bool {
		return o.ours.status == bogus && o.ours.says("expanded from the wildcard") && o.delv.kind() == failed
	}},
	{"ours refuses an alias that leads back to itself", func(o *outcome) bool {
		return o.ours.status == failed && o.ours.says("alias-loop")
	}},
	{"ours and delv refuse what unbound finds insecure", func(o *outcome) bool {
		return o.kinds() == [3]status{failed, insecure, failed}
	}},
	{"ours and unbound refuse more of the message than delv", func(o *outcome) bool {
		return o.ours.kind() == failed && o.unbound.kind() == failed
	}},
	{"ours does not ask for DS records of the root", func(o *outcome) bool {
		return o.ours.kind() == failed && o.ours.says(`DS of "."`)
	}},
	{"beyond an insecure alias the others do not judge", func(o *outcome) bool {
		return o.kinds() == [3]status{failed, insecure, insecure} && len(o.truth.chain) > 1 && o.truth.doubted
	}},
	{"ours judges the end of an alias in the same reply", func(o *outcome) bool {
		return (o.ours.kind() == failed || o.ours.status == insecure && o.truth.doubted) && o.withinAlias()
	}},

	// The others accept less than ours.
	{"what is in no signed zone cannot be bogus", func(o *outcome) bool {
		return o.ours.status == insecure && o.truth.doubted && o.unbound.status != secure && o.delv.status != secure
	}},
	{"delv gives up after one failed signature", func(o *outcome) bool {
		return o.ours.status == secure && o.unbound.status == secure && o.delv.status != secure &&
			o.delv.says("no valid signature found", "failed to verify", "no valid RRSIG", "RRSIG has expired")
	}},
	{"delv refuses the form of the message", func(o *outcome) bool {
		return o.ours.status == o.unbound.status && o.delv.kind() == failed && o.delv.says("FORMERR", "check-names")
	}},
	{"unbound takes the additional section into the answer", func(o *outcome) bool {
		return o.kinds() == [3]status{secure, failed, secure} && o.mutation.Kind == "additional forged"
	}},
	{"unbound trips over one more denial of the zone", func(o *outcome) bool {
		return o.kinds() == [3]status{secure, failed, secure} &&
			o.unbound.says("proof failed") && o.mutation.Kind != ""
	}},
	{"delv follows a forged DNAME", func(o *outcome) bool {
		return o.kinds() == [3]status{secure, secure, failed} && o.mutation.Kind == "DNAME forged"
	}},
	{"unbound and delv take the NSEC records of both sides of a zone cut for one RRset", func(o *outcome) bool {
		return o.ours.status == secure && o.unbound.says("cname proof failed") && o.delv.says("no valid NSEC") && o.mutation.Kind == ""
	}},
	{"unbound takes a DNAME further up for the DNAME asked for", func(o *outcome) bool {
		return o.ours.status == secure && o.dnameTakenForAnother()
	}},
	{"delv follows a DNAME that leads to itself further than asked", func(o *outcome) bool {
		return o.ours.status == secure && o.question.Type == dns.TypeCNAME && o.delv.says("quota reached")
	}},
	// It takes the signer of the CNAME, which has none, and not that of the DNAME. So it asks for
	// the delegations above the name, and finds that there may be an unsigned one.
	{"unbound looks for the zone of an alias that a DNAME makes", func(o *outcome) bool {
		return o.kinds() == [3]status{secure, insecure, secure} && o.truth.synthesized && o.truth.doubted
	}},
	{"unbound follows an alias in place of DS records", func(o *outcome) bool {
		return o.ours.status == secure && o.unbound.says("SERVFAIL no DS") && o.delv.status == secure
	}},
	{"unbound takes a DNAME for a missing delegation", func(o *outcome) bool {
		return o.ours.status == secure && o.unbound.says(dnameForDS)
	}},
	{"each judges other parts of the reply to an alias", func(o *outcome) bool {
		return o.ours.status == secure && (o.unbound.status == secure || o.delv.status == secure) && len(o.truth.chain) > 1
	}},
}

// dnameTakenForAnother reports whether unbound treats a DNAME of an ancestor as
// the DNAME in the question, and so requires a signature of the synthesized
// CNAME. It does so with intact replies too.
func (o *outcome) dnameTakenForAnother() bool {
	return o.question.Type == dns.TypeDNAME && o.unbound.says("no signatures for CNAME")
}

// withinAlias reports whether the mutation alters the reply to an alias. Some
// validators use the target from that reply, others query it again.
func (o *outcome) withinAlias() bool {
	at := slices.Index(o.truth.chain, o.mutation.At)
	return at >= 0 && at < len(o.truth.chain)-1
}

// altersBeside reports whether the mutation adds or damages records that the
// answer does not depend on.
func (o *outcome) altersBeside() bool {
	return slices.Contains([]string{"authority forged beside", "denial added", "denial replayed", "denials replayed",
		"signature of other name", "signature type", "owner renamed"}, o.mutation.Kind)
}
