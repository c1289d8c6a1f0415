package postfix

import (
	"bytes"
	"slices"
	"strings"

	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/internal/names"
)

// treatment is what a policy does with a host, compared with what the plan demands of it.
type treatment uint8

const (
	// weaker means that mail may go to the host with less than the plan demands. The policy must
	// not be used.
	weaker treatment = iota
	// excludes means that no mail goes to the host.
	excludes
	// keeps means that mail goes to the host, and needs what the plan demands.
	keeps
)

// candidate is a policy that the client understands.
type candidate interface {
	treats(demand) treatment
	write(*table) Reply
}

// candidates yields the policies of the client that are possible for the plan, the
// preferred ones first. Usually one of the first is chosen, and the others need not be
// made.
func (t *table) candidates(yield func(candidate) bool) {
	isPostfix := t.Client != Sendmail
	if !yield(none{}) {
		return
	}
	if !t.Fingerprints {
		if isPostfix && t.plan.MXStatus == dnssec.Secure && !yield(daneOnly{}) {
			return
		}
		if !yield(daneByHost{}) {
			return
		}
	}
	if s := t.secureByName(); s.names != nil && !yield(s) {
		return
	}
	if f := t.pinned(); isPostfix && f.digests != nil && !yield(f) {
		return
	}
	if f := t.fingerprinted(); isPostfix && f.digests != nil && !yield(f) {
		return
	}
	if isName(t.plan.NextHop) && !yield(secureNextHop{}) {
		return
	}
	if isPostfix {
		yield(encrypt{})
	}
}

// none is no policy: the client does what its configuration says.
type none struct{}

func (none) treats(d demand) treatment {
	if d.kind == opportunistic || d.kind == unreachable {
		return keeps
	}
	return weaker
}

// daneOnly is the policy dane-only: the client authenticates every host by TLSA records of its own
// lookup, and does not connect to others. The MX records have to be secure.
type daneOnly struct{}

func (daneOnly) treats(d demand) treatment {
	switch {
	case d.kind == byDANE:
		return keeps
	case d.kind == byPin, d.kind == byBoth, d.kind == refusedByPolicy && d.withoutDANE:
		return weaker
	default:
		return excludes
	}
}

// daneByHost is the policy dane: the client decides host by host as RFC 7672 says. A host for which
// its lookup fails gets no mail.
type daneByHost struct{}

func (daneByHost) treats(d demand) treatment {
	switch d.kind {
	case byDANE, encryptedByDANE, opportunistic, unreachable:
		return keeps
	case refusedByPolicy:
		if d.lookupFailed {
			return excludes
		}
	}
	return weaker
}

// secure is the policy secure: a certificate of the web PKI for one of the names.
type secure struct {
	names []string
	hosts []demand // those that are served
}

func (s secure) treats(d demand) treatment {
	if slices.ContainsFunc(s.hosts, d.isHost) {
		return keeps
	}
	return excludes
}

// secureByName demands a certificate for a host that the plan authenticates by its name. Names of
// other hosts are left out, even if an MTA-STS policy lists them: a client that connects to such a
// host finds no certificate that matches.
func (t *table) secureByName() (s secure) {
	for _, d := range t.usable {
		if (d.kind == byName || d.isBothAtInsecureMX() && !t.DeferInsecureMX) && isName(d.host.Name) {
			s.names, s.hosts = append(s.names, d.host.Name), append(s.hosts, d)
		}
	}
	return s
}

// secureNextHop is the policy secure for the next-hop domain. Any host may have its certificate.
type secureNextHop struct{}

func (secureNextHop) treats(d demand) treatment {
	switch d.kind {
	case byNextHop:
		return keeps
	case opportunistic, encryptedByDANE, encryptedByOperator, unreachable:
		return excludes
	default:
		return weaker
	}
}

// fingerprint is the policy fingerprint: a certificate or a key with one of the digests.
type fingerprint struct {
	digests [][]byte
	hosts   []demand // those that are served
}

func (f fingerprint) treats(d demand) treatment {
	if slices.ContainsFunc(f.hosts, d.isHost) {
		return keeps
	}
	return excludes
}

// pinned has the pins of the best host that has some, and serves the hosts with the same pins.
func (t *table) pinned() (f fingerprint) {
	for _, d := range t.usable {
		switch digests := d.fingerprints(); {
		case d.kind != byPin || digests == nil:
		case f.digests == nil || slices.EqualFunc(f.digests, digests, bytes.Equal):
			f.digests, f.hosts = digests, append(f.hosts, d)
		}
	}
	return f
}

// fingerprinted has the digests of the TLSA records of all hosts that have no others. A host may then
// have the key of another host of the domain.
func (t *table) fingerprinted() (f fingerprint) {
	if !t.Fingerprints {
		return f
	}
	for _, d := range t.usable {
		if digests := d.fingerprints(); d.kind == byDANE && digests != nil {
			f.digests, f.hosts = append(f.digests, digests...), append(f.hosts, d)
		}
	}
	return f
}

// encrypt is the policy encrypt: TLS without authentication of the server.
type encrypt struct{}

func (encrypt) treats(d demand) treatment {
	switch d.kind {
	case opportunistic, encryptedByDANE, encryptedByOperator, unreachable:
		return keeps
	default:
		return weaker
	}
}

// isName reports whether Postfix reads a name as that of a host. In match= it has words of
// one label, such as hostname, which means any host. It refuses names that end in a number.
func isName(name string) bool {
	return names.IsDomain(name) && strings.Contains(name, ".") && !names.EndsInNumber(name)
}
