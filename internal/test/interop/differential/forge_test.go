package differential

import (
	"slices"

	"github.com/miekg/dns"
)

// onDenial calls change with one NSEC or NSEC3 RRset, including signatures, and
// with the rest of the authority section.
func onDenial(change func(o *operation, denial, rest []dns.RR) bool) func(*operation) bool {
	return func(o *operation) bool {
		denials := o.sets(isDenial)
		if len(denials) == 0 {
			return false
		}
		chosen := denials[o.Index%len(denials)]
		var denial, rest []dns.RR
		for _, rr := range o.reply.Ns {
			if covered(rr) == chosen {
				denial = append(denial, rr)
			} else {
				rest = append(rest, rr)
			}
		}
		return len(denial) > 0 && change(o, denial, rest)
	}
}

// renameDenial replaces the owner of a denial with that of another one or with
// the name of the question.
func (o *operation) renameDenial(denial, _ []dns.RR) bool {
	name := o.At.Name
	for _, rr := range o.donor.Ns {
		if rr.Header().Rrtype == denial[0].Header().Rrtype {
			name = rr.Header().Name
		}
	}
	for _, rr := range denial {
		rr.Header().Name = name
	}
	return true
}

// replayDenials adds the denials of the donor to the rest.
func (o *operation) replayDenials(rest []dns.RR) bool {
	added := false
	for _, rr := range o.donor.Ns {
		if isDenial(rr) && !slices.ContainsFunc(rest, func(have dns.RR) bool { return have.String() == rr.String() }) {
			rest = append(rest, rr)
			added = true
		}
	}
	o.reply.Ns = rest
	return added
}

// deny replaces the reply with the negative reply of the donor.
func (o *operation) deny() bool {
	if len(o.donor.Answer) > 0 {
		return false
	}
	return o.replay()
}

func (o *operation) replay() bool {
	o.reply.Answer, o.reply.Ns, o.reply.Rcode = o.donor.Answer, o.donor.Ns, o.donor.Rcode
	return true
}

func (o *operation) replayType() bool {
	o.Donor.Name = o.At.Name
	if o.Donor.Type == dns.TypeDS && o.At.Name == "." {
		return false
	}
	o.donor = o.world.ask(o.Donor)
	return o.replay()
}

// replayExpansion renames the answer of the donor to the name of the question,
// like a wildcard expansion.
func (o *operation) replayExpansion() bool {
	if o.Donor.Type != o.At.Type || len(o.donor.Answer) == 0 {
		return false
	}
	for _, rr := range o.donor.Answer {
		if rr.Header().Name == o.Donor.Name {
			rr.Header().Name = o.At.Name
		}
	}
	return o.replay()
}

func (o *operation) empty(rcode int) bool {
	o.reply.Answer, o.reply.Ns, o.reply.Rcode, o.invisible = nil, nil, rcode, true
	return true
}

// cutOff removes the end of the reply without setting TC.
func (o *operation) cutOff() bool {
	keep := o.Index % (1 + len(o.reply.Answer) + len(o.reply.Ns))
	answer := min(keep, len(o.reply.Answer))
	o.reply.Answer, o.reply.Ns = o.reply.Answer[:answer], o.reply.Ns[:min(keep-answer, len(o.reply.Ns))]
	return true
}

func (o *operation) pad() bool {
	opt := o.reply.IsEdns0()
	opt.Option = append(opt.Option, &dns.EDNS0_PADDING{Padding: make([]byte, o.Index%400)})
	o.invisible = true
	return true
}

// forge returns records of an attacker without keys. Some have a signature that
// looks valid and is for the name in the question or another one.
func (o *operation) forge() []dns.RR {
	name, t := o.At.Name, dns.TypeToString[o.At.Type]
	if o.Index&1 == 0 {
		name = o.Donor.Name
	}
	data := map[string]string{"A": "203.0.113.66", "AAAA": "2001:db8::66", "TXT": "forged", "MX": "0 forged.alpha.",
		"TLSA": "3 1 1 00000000", "NS": "forged.alpha.", "CNAME": "forged.alpha.", "DNAME": "alpha."}
	if data[t] == "" {
		t = "A"
	}
	rr := record(name + " 300 " + t + " " + data[t])
	forged := []dns.RR{rr}
	if o.Index&2 != 0 {
		zone := o.world.spec.zone(name).Name
		forged = append(forged, &dns.RRSIG{
			Hdr:         dns.RR_Header{Name: name, Rrtype: dns.TypeRRSIG, Class: dns.ClassINET, Ttl: 300},
			TypeCovered: rr.Header().Rrtype, Algorithm: dns.ECDSAP256SHA256, Labels: uint8(dns.CountLabel(name)), OrigTtl: 300,
			Expiration: 1<<31 - 1, Inception: 1, KeyTag: uint16(o.Index), SignerName: zone,
			Signature: "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==",
		})
	}
	return forged
}

// forgeCNAME adds a CNAME from the name in the question to another name.
func (o *operation) forgeCNAME() bool {
	if o.At.Name == o.Donor.Name {
		return false
	}
	cname := record(o.At.Name + " 300 CNAME " + o.Donor.Name)
	o.donor = o.world.ask(question{o.Donor.Name, o.At.Type})
	o.reply.Answer = append([]dns.RR{cname}, o.donor.Answer...)
	o.reply.Ns, o.reply.Rcode = o.donor.Ns, o.donor.Rcode
	return true
}

// forgeDNAME adds a DNAME above the name in the question.
func (o *operation) forgeDNAME() bool {
	above := parent(o.At.Name)
	if o.At.Name == "." || above == "." {
		return false
	}
	label := o.At.Name[:len(o.At.Name)-len(above)]
	target := question{label + "alpha.", o.At.Type}
	o.donor = o.world.ask(target)
	o.reply.Answer = append([]dns.RR{record(above + " 300 DNAME alpha."),
		record(o.At.Name + " 300 CNAME " + target.Name)}, o.donor.Answer...)
	o.reply.Ns, o.reply.Rcode = o.donor.Ns, o.donor.Rcode
	return true
}

// onSynthesized changes or removes the synthesized CNAME of a DNAME.
func onSynthesized(change func(*operation, *dns.CNAME) bool) func(*operation) bool {
	return func(o *operation) bool {
		found := false
		o.rewrite(func(rr dns.RR) []dns.RR {
			cname, ok := rr.(*dns.CNAME)
			if !ok || found || !o.synthesized(cname) {
				return []dns.RR{rr}
			}
			found = true
			if !change(o, cname) {
				return nil
			}
			return []dns.RR{rr}
		})
		return found
	}
}

func (o *operation) synthesized(cname *dns.CNAME) bool {
	return slices.ContainsFunc(o.reply.Answer, func(rr dns.RR) bool {
		return rr.Header().Rrtype == dns.TypeDNAME && dns.IsSubDomain(rr.Header().Name, cname.Hdr.Name) &&
			rr.Header().Name != cname.Hdr.Name
	})
}

func record(text string) dns.RR {
	rr, err := dns.NewRR(text)
	if err != nil {
		panic(text + ": " + err.Error())
	}
	return rr
}
