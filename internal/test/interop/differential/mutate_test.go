package differential

import (
	"encoding/base64"
	"maps"
	"net"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/internal/test/dnstree"
)

// operation applies one mutation to a reply.
type operation struct {
	mutation
	world     *world
	reply     *dns.Msg // the reply to alter
	donor     *dns.Msg
	invisible bool // the change is not visible in the records
}

// kinds are the kinds of mutations. A function returns false if it does not
// apply to the reply.
var kinds = map[string]func(*operation) bool{
	"signature dropped":       onSignatures(func(*operation, *dns.RRSIG) bool { return false }),
	"signature altered":       onSignatures(flipBit),
	"signature of other name": onSignatures((*operation).swapSignature),
	"signature by parent":     (*operation).usurpSignatures,
	"signer renamed":          onSignatures(func(o *operation, sig *dns.RRSIG) bool { sig.SignerName = o.otherZone(sig.SignerName); return true }),
	"signature labels":        onSignatures(func(o *operation, sig *dns.RRSIG) bool { sig.Labels += uint8(1 - o.Index%2*2); return true }),
	"signature key tag":       onSignatures(func(_ *operation, sig *dns.RRSIG) bool { sig.KeyTag++; return true }),
	"signature algorithm":     onSignatures(func(_ *operation, sig *dns.RRSIG) bool { sig.Algorithm ^= 7; return true }),
	"signature original TTL":  onSignatures(func(_ *operation, sig *dns.RRSIG) bool { sig.OrigTtl++; return true }),
	"signature type":          onSignatures(func(o *operation, sig *dns.RRSIG) bool { sig.TypeCovered = o.Donor.Type; return true }),
	"signature dates":         onSignatures(func(_ *operation, sig *dns.RRSIG) bool { sig.Expiration += 86400; return true }),
	"signature expired":       func(o *operation) bool { return o.shiftSignatures(-100, false) },
	"signature not yet valid": func(o *operation) bool { return o.shiftSignatures(100, false) },
	"expired signature added": func(o *operation) bool { return o.shiftSignatures(-100, true) },
	"broken signature added":  (*operation).addBroken,
	"one signature dropped":   func(o *operation) bool { return o.oneOfSeveral(func(*dns.RRSIG) bool { return false }) },
	"one signature altered":   func(o *operation) bool { return o.oneOfSeveral(func(sig *dns.RRSIG) bool { return flipBit(o, sig) }) },
	"signatures dropped":      all(func(*operation, *dns.RRSIG) bool { return false }),
	"signatures altered":      all(flipBit),

	"data altered":       onRecord(func(o *operation, rr dns.RR) []dns.RR { return []dns.RR{alter(rr)} }),
	"data added":         onRecord(func(o *operation, rr dns.RR) []dns.RR { return []dns.RR{rr, alter(dns.Copy(rr))} }),
	"data removed":       onRecord(func(*operation, dns.RR) []dns.RR { return nil }),
	"owner renamed":      onRecord(func(o *operation, rr dns.RR) []dns.RR { rr.Header().Name = o.Donor.Name; return []dns.RR{rr} }),
	"TTL raised":         eachRecord(func(rr dns.RR) { rr.Header().Ttl *= 100 }),
	"TTL zero":           eachRecord(func(rr dns.RR) { rr.Header().Ttl = 0 }),
	"owners in capitals": eachRecord(func(rr dns.RR) { rr.Header().Name = strings.ToUpper(rr.Header().Name) }),
	"records duplicated": onRecord(func(_ *operation, rr dns.RR) []dns.RR { return []dns.RR{rr, dns.Copy(rr)} }),
	"records reversed":   func(o *operation) bool { slices.Reverse(o.reply.Answer); slices.Reverse(o.reply.Ns); return true },

	"denial dropped":  onDenial(func(o *operation, _, rest []dns.RR) bool { o.reply.Ns = rest; return true }),
	"denials dropped": func(o *operation) bool { o.reply.Ns = slices.DeleteFunc(o.reply.Ns, isDenial); return true },
	"denial to additional": onDenial(func(o *operation, d, rest []dns.RR) bool {
		o.reply.Ns, o.reply.Extra = rest, append(o.reply.Extra, d...)
		return true
	}),
	"denial to answer": onDenial(func(o *operation, d, rest []dns.RR) bool {
		o.reply.Ns, o.reply.Answer = rest, append(o.reply.Answer, d...)
		return true
	}),
	"denial renamed":            onDenial((*operation).renameDenial),
	"denial types altered":      onDenial(func(o *operation, d, _ []dns.RR) bool { return alterTypes(d[0]) }),
	"denial replayed":           onDenial(func(o *operation, _, rest []dns.RR) bool { return o.replayDenials(rest) }),
	"denials replayed":          func(o *operation) bool { return o.replayDenials(slices.DeleteFunc(o.reply.Ns, isDenial)) },
	"denial added":              func(o *operation) bool { return o.replayDenials(o.reply.Ns) },
	"SOA dropped":               func(o *operation) bool { o.reply.Ns = slices.DeleteFunc(o.reply.Ns, isSOA); return true },
	"answer dropped":            func(o *operation) bool { o.reply.Answer = nil; return true },
	"answer dropped, denied":    (*operation).deny,
	"reply replayed":            (*operation).replay,
	"reply of other type":       (*operation).replayType,
	"expansion replayed":        (*operation).replayExpansion,
	"rcode flipped":             func(o *operation) bool { o.reply.Rcode ^= dns.RcodeNameError; return true },
	"SERVFAIL":                  func(o *operation) bool { return o.empty(dns.RcodeServerFailure) },
	"REFUSED":                   func(o *operation) bool { return o.empty(dns.RcodeRefused) },
	"emptied":                   func(o *operation) bool { return o.empty(dns.RcodeSuccess) },
	"emptied, NXDOMAIN":         func(o *operation) bool { return o.empty(dns.RcodeNameError) },
	"stripped":                  (*operation).strip,
	"truncated":                 func(o *operation) bool { o.reply.Truncated, o.invisible = true, true; return true },
	"cut off":                   (*operation).cutOff,
	"padded":                    (*operation).pad,
	"additional forged":         func(o *operation) bool { o.reply.Extra = append(o.reply.Extra, o.forge()...); return true },
	"answer forged beside":      func(o *operation) bool { o.reply.Answer = append(o.reply.Answer, o.forge()...); return true },
	"authority forged beside":   func(o *operation) bool { o.reply.Ns = append(o.reply.Ns, o.forge()...); return true },
	"answer forged":             func(o *operation) bool { o.reply.Answer, o.reply.Ns = o.forge(), nil; o.reply.Rcode = 0; return true },
	"CNAME forged":              (*operation).forgeCNAME,
	"DNAME forged":              (*operation).forgeDNAME,
	"synthesized CNAME dropped": onSynthesized(func(*operation, *dns.CNAME) bool { return false }),
	"synthesized CNAME altered": onSynthesized(func(o *operation, c *dns.CNAME) bool { c.Target = o.Donor.Name; return true }),
}

var kindNames = slices.Sorted(maps.Keys(kinds))

// covered returns the RRset to which a signature belongs.
func covered(rr dns.RR) question {
	if sig, ok := rr.(*dns.RRSIG); ok {
		return question{sig.Hdr.Name, sig.TypeCovered}
	}
	return question{rr.Header().Name, rr.Header().Rrtype}
}

// sets returns the RRsets of the reply for which keep returns true, in order.
func (o *operation) sets(keep func(dns.RR) bool) []question {
	var found []question
	for _, rr := range slices.Concat(o.reply.Answer, o.reply.Ns) {
		if q := covered(rr); keep(rr) && !slices.Contains(found, q) {
			found = append(found, q)
		}
	}
	return found
}

func isSignature(rr dns.RR) bool { return rr.Header().Rrtype == dns.TypeRRSIG }

func isSOA(rr dns.RR) bool { return covered(rr).Type == dns.TypeSOA }

func isDenial(rr dns.RR) bool {
	t := covered(rr).Type
	return t == dns.TypeNSEC || t == dns.TypeNSEC3
}

// rewrite replaces each record of the answer and authority sections.
func (o *operation) rewrite(replace func(dns.RR) []dns.RR) {
	for _, section := range []*[]dns.RR{&o.reply.Answer, &o.reply.Ns} {
		var records []dns.RR
		for _, rr := range *section {
			records = append(records, replace(rr)...)
		}
		*section = records
	}
}

// filter changes the signatures of the selected RRsets, and removes those for
// which change returns false.
func (o *operation) filter(of func(question) bool, change func(*operation, *dns.RRSIG) bool) {
	o.rewrite(func(rr dns.RR) []dns.RR {
		if sig, ok := rr.(*dns.RRSIG); ok && of(covered(sig)) && !change(o, sig) {
			return nil
		}
		return []dns.RR{rr}
	})
}

// onSignatures changes all signatures of one RRset.
func onSignatures(change func(*operation, *dns.RRSIG) bool) func(*operation) bool {
	return func(o *operation) bool {
		signed := o.sets(isSignature)
		if len(signed) == 0 {
			return false
		}
		chosen := signed[o.Index%len(signed)]
		o.filter(func(q question) bool { return q == chosen }, change)
		return true
	}
}

// all changes all signatures.
func all(change func(*operation, *dns.RRSIG) bool) func(*operation) bool {
	return func(o *operation) bool {
		o.filter(func(question) bool { return true }, change)
		return true
	}
}

// oneOfSeveral changes one signature of an RRset that has several.
func (o *operation) oneOfSeveral(change func(*dns.RRSIG) bool) bool {
	seen := make(map[question]bool)
	twice := o.sets(func(rr dns.RR) bool {
		again := isSignature(rr) && seen[covered(rr)]
		seen[covered(rr)] = seen[covered(rr)] || isSignature(rr)
		return again
	})
	if len(twice) == 0 {
		return false
	}
	chosen, skip := twice[o.Index%len(twice)], o.Index/len(twice)%2
	o.filter(func(q question) bool { return q == chosen }, func(_ *operation, sig *dns.RRSIG) bool {
		skip--
		return skip != -1 || change(sig)
	})
	return true
}

func flipBit(o *operation, sig *dns.RRSIG) bool {
	octets, err := base64.StdEncoding.DecodeString(sig.Signature)
	if err != nil {
		panic(err)
	}
	octets[o.Index%len(octets)] ^= 1
	sig.Signature = base64.StdEncoding.EncodeToString(octets)
	return true
}

// swapSignature replaces the signature with that of another RRset, and
// sometimes changes its fields to look valid.
func (o *operation) swapSignature(sig *dns.RRSIG) bool {
	for _, rr := range slices.Concat(o.donor.Answer, o.donor.Ns) {
		if other, ok := rr.(*dns.RRSIG); ok && covered(other) != covered(sig) {
			name, t, signer := sig.Hdr.Name, sig.TypeCovered, sig.SignerName
			*sig = *other
			sig.Hdr.Name = name
			if o.Index&1 == 0 {
				sig.TypeCovered = t
			}
			if o.Index&2 == 0 {
				sig.SignerName = signer
			}
			return true
		}
	}
	return true
}

// usurpSignatures replaces signatures with signatures by the parent zone.
func (o *operation) usurpSignatures() bool {
	usurped := o.world.usurped[o.At]
	if len(usurped) == 0 {
		return false
	}
	o.filter(func(q question) bool { return q == o.At }, func(*operation, *dns.RRSIG) bool { return false })
	for _, sig := range usurped {
		o.reply.Answer = append(o.reply.Answer, dns.Copy(sig))
	}
	return true
}

func (o *operation) otherZone(not string) string {
	spec := o.world.spec
	for i := range spec {
		if z := spec[(o.Index+i)%len(spec)]; z.Name != not {
			return z.Name
		}
	}
	return "."
}

// shiftSignatures replaces the signatures of one RRset or of all RRsets with
// signatures by the same keys for another time, or adds those.
func (o *operation) shiftSignatures(days int, add bool) bool {
	signed := o.sets(isSignature)
	if len(signed) == 0 {
		return false
	}
	n := o.Index % (len(signed) + 1) // the last index means all of them
	of := func(q question) bool { return n == len(signed) || q == signed[n] }
	if !add {
		o.filter(of, func(*operation, *dns.RRSIG) bool { return false })
	}
	shifted := o.world.askShifted(o.At, days)
	expired := func(section []dns.RR) []dns.RR {
		return slices.DeleteFunc(section, func(rr dns.RR) bool { return !isSignature(rr) || !of(covered(rr)) })
	}
	o.reply.Answer = append(expired(shifted.Answer), o.reply.Answer...)
	o.reply.Ns = append(expired(shifted.Ns), o.reply.Ns...)
	return true
}

// addBroken adds an invalid copy before each signature.
func (o *operation) addBroken() bool {
	o.rewrite(func(rr dns.RR) []dns.RR {
		if !isSignature(rr) {
			return []dns.RR{rr}
		}
		broken := dns.Copy(rr).(*dns.RRSIG)
		flipBit(o, broken)
		return []dns.RR{broken, rr}
	})
	return true
}

// onRecord replaces one record that is not a signature.
func onRecord(replace func(*operation, dns.RR) []dns.RR) func(*operation) bool {
	return func(o *operation) bool {
		data := slices.DeleteFunc(slices.Concat(o.reply.Answer, o.reply.Ns), isSignature)
		if len(data) == 0 {
			return false
		}
		chosen := data[o.Index%len(data)]
		o.rewrite(func(rr dns.RR) []dns.RR {
			if rr == chosen {
				return replace(o, rr)
			}
			return []dns.RR{rr}
		})
		return true
	}
}

func eachRecord(change func(dns.RR)) func(*operation) bool {
	return func(o *operation) bool {
		o.rewrite(func(rr dns.RR) []dns.RR { change(rr); return []dns.RR{rr} })
		return true
	}
}

// alter changes the data of a record to other well-formed data.
func alter(rr dns.RR) dns.RR {
	switch rr := rr.(type) {
	case *dns.A:
		rr.A = net.IPv4(203, 0, 113, 1)
	case *dns.AAAA:
		rr.AAAA = net.ParseIP("2001:db8::bad")
	case *dns.TXT:
		rr.Txt = []string{"altered"}
	case *dns.MX:
		rr.Mx = "altered.alpha."
	case *dns.TLSA:
		rr.Certificate = strings.Repeat("0", 64)
	case *dns.CNAME:
		rr.Target = "altered.alpha."
	case *dns.DNAME:
		rr.Target = "altered.alpha."
	case *dns.NS:
		rr.Ns = "altered.alpha."
	case *dns.SOA:
		rr.Serial++
	case *dns.DS:
		rr.Digest = strings.Repeat("0", len(rr.Digest))
	case *dns.DNSKEY:
		rr.Flags ^= dns.SEP
	case *dns.NSEC, *dns.NSEC3:
		alterTypes(rr)
	}
	return rr
}

// alterTypes removes one type from a type bitmap.
func alterTypes(rr dns.RR) bool {
	switch rr := rr.(type) {
	case *dns.NSEC:
		rr.TypeBitMap = rr.TypeBitMap[:len(rr.TypeBitMap)-1]
	case *dns.NSEC3:
		if len(rr.TypeBitMap) == 0 {
			return false
		}
		rr.TypeBitMap = rr.TypeBitMap[:len(rr.TypeBitMap)-1]
	}
	return true
}

// strip removes signatures and proofs.
func (o *operation) strip() bool {
	wire, err := o.reply.Pack()
	return err == nil && o.reply.Unpack(dnstree.Strip(dnstree.Query{}, wire)) == nil
}
