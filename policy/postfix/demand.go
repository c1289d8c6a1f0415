package postfix

import (
	"errors"
	"slices"

	"github.com/mxseal/mxseal/dane"
	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/policy"
)

// kind is what a plan demands of the session with one host.
type kind uint8

const (
	// refusedByPolicy means that no session with the host may carry mail.
	refusedByPolicy kind = iota
	// unreachable means that the host is refused for another reason than a policy.
	unreachable
	// opportunistic means that nothing is demanded.
	opportunistic
	// encryptedByDANE means that the host has unusable TLSA records, and must have TLS.
	encryptedByDANE
	// encryptedByOperator means that the operator demands TLS of a host that has no policy.
	encryptedByOperator
	// byDANE means that the TLSA records in DNS authenticate the host.
	byDANE
	// byPin means that the records that the operator pinned authenticate the host.
	byPin
	// byName means that a certificate of the web PKI for the host authenticates it.
	byName
	// byNextHop means that a certificate of the web PKI for the next-hop domain does.
	byNextHop
	// byBoth means that TLSA records and a certificate of the web PKI must authenticate it.
	byBoth
)

// demand is what a plan demands of the session with one host. Its zero value permits none.
type demand struct {
	host *policy.Host
	kind kind
	// lookupFailed is true if the host is refused because a lookup of its address or TLSA
	// records failed.
	lookupFailed bool
	// insecureMX is true if MX records that are not secure name the host.
	insecureMX bool
	// withoutDANE is true if the operator has switched DANE off for the host, or pinned records.
	withoutDANE bool
	// pinned is true if the TLSA records are the operator's.
	pinned bool
	// enforced is true if an MTA-STS policy is among what decided.
	enforced bool
}

func demandOf(host *policy.Host, plan *policy.Plan) demand {
	d := demand{
		host:       host,
		insecureMX: plan.MXStatus != dnssec.Secure,
		enforced:   host.By.Has(policy.ByMTASTS),
	}
	d.withoutDANE = host.DANE != nil && host.DANE.State == dane.Unknown
	d.pinned = len(host.TLSA) > 0 && d.withoutDANE
	names := host.WebPKINames()
	switch host.Level {
	case policy.Authenticated:
		switch {
		case len(host.TLSA) > 0 && len(names) > 0:
			d.kind = byBoth
		case d.pinned:
			d.kind = byPin
		case len(host.TLSA) > 0:
			d.kind = byDANE
		case slices.Equal(names, []string{host.Name}):
			d.kind = byName
		case slices.Equal(names, []string{plan.NextHop}):
			d.kind = byNextHop
		}
	case policy.Encrypted:
		d.kind = encryptedByOperator
		if host.By == policy.ByDANE {
			d.kind = encryptedByDANE
		}
	case policy.Opportunistic:
		d.kind = opportunistic
	case policy.Refused:
		if host.Refusal != nil && host.Refusal.By == 0 {
			d.kind = unreachable
		}
		d.lookupFailed = host.Refusal != nil && errors.Is(host.Refusal, policy.ErrLookupFailed)
	}
	return d
}

// isHost reports whether two demands are of the same host.
func (d demand) isHost(other demand) bool { return d.host == other.host }

// isBothAtInsecureMX reports whether the host has TLSA records, is found by insecure MX records, and
// is under an enforced MTA-STS policy. RFC 7672 section 2.2.1 leaves the DANE of such a host to
// the sender.
func (d demand) isBothAtInsecureMX() bool {
	return d.kind == byBoth && d.insecureMX && d.enforced && !d.pinned
}

// fingerprints returns the digests of the records that authenticate the host, if all of them are
// of DANE-EE with SHA2-256, and nil otherwise.
func (d demand) fingerprints() [][]byte {
	var digests [][]byte
	for _, record := range d.host.TLSA {
		if record.Usage != dane.DANEEE || record.MatchingType != dane.SHA256 || len(record.Data) != 32 {
			return nil
		}
		digests = append(digests, record.Data)
	}
	return digests
}
