package postfix

import (
	"fmt"
	"strings"

	"github.com/mxseal/mxseal/internal/names"
)

// Reason says why a client cannot do what the plan demands. The set of reasons is fixed,
// for metrics.
type Reason string

const (
	// Mixed means that other hosts of the domain are authenticated in another way. No mail goes
	// to these hosts.
	Mixed Reason = "mixed"
	// InsecureMX means that the plan demands TLSA records and a certificate of the web PKI, at
	// hosts that insecure MX records name. See Options.DeferInsecureMX.
	InsecureMX Reason = "insecure-mx"
	// Both means that the operator demands TLSA records and a certificate of the web PKI.
	Both Reason = "both"
	// LookupFailed means that the lookup of the addresses or TLSA records of the hosts
	// failed. A Postfix before 3.10.5 connects to them, and refuses their certificates.
	LookupFailed Reason = "lookup-failed"
	// Pin means that the operator has pinned records that the client does not understand, or only
	// for some hosts.
	Pin Reason = "pin"
	// Floor means that the operator demands TLS of hosts that have no policy, and that
	// other hosts have one.
	Floor Reason = "floor"
	// NoResolver means that the hosts have records that only a client with a validating resolver
	// can use. See Options.Fingerprints.
	NoResolver Reason = "no-resolver"
)

// Reasons returns all reasons.
func Reasons() []Reason {
	return []Reason{Mixed, InsecureMX, Both, LookupFailed, Pin, Floor, NoResolver}
}

// Loss is something that the client cannot do of a plan.
type Loss struct {
	Reason Reason
	// Hosts are the mail hosts concerned, at least one.
	Hosts []string
}

// String returns one line that names the hosts.
func (l Loss) String() string {
	what := map[Reason]string{
		Mixed:        "%s cannot be used beside hosts that are authenticated in another way",
		InsecureMX:   "%s must match TLSA records and have a certificate of the web PKI, behind insecure MX records, and only one of them can be demanded",
		Both:         "%s must match TLSA records and have a certificate of the web PKI, and only one of them can be demanded",
		LookupFailed: "the lookup of %s failed, and the client can only demand the certificate of another host there",
		Pin:          "the records that are pinned for %s cannot be demanded",
		Floor:        "%s must have TLS, which cannot be demanded of hosts without a policy alone",
		NoResolver:   "the TLSA records of %s cannot be sent as fingerprints",
	}[l.Reason]
	return fmt.Sprintf(what, names.Printable(strings.Join(l.Hosts, ", "), maxReason))
}

// losses returns what is lost with a policy, or with none if c is nil.
func (t *table) losses(c candidate, excluded []demand) []Loss {
	var hosts map[Reason][]string
	note := func(reason Reason, d demand) {
		if hosts == nil {
			hosts = make(map[Reason][]string)
		}
		hosts[reason] = append(hosts[reason], d.host.Name)
	}
	for _, d := range excluded {
		note(t.lost(d), d)
	}
	s, isSecure := c.(secure)
	for _, d := range s.hosts {
		if d.isBothAtInsecureMX() {
			note(InsecureMX, d)
		}
	}
	_, isFingerprint := c.(fingerprint)
	for _, d := range t.demands {
		if d.lookupFailed && (c == nil || isSecure || isFingerprint) {
			note(LookupFailed, d)
		}
	}
	if hosts == nil {
		return nil
	}
	var losses []Loss
	for _, reason := range Reasons() {
		if hosts[reason] != nil {
			losses = append(losses, Loss{reason, hosts[reason]})
		}
	}
	return losses
}

// lost returns why a host that the plan serves is excluded.
func (t *table) lost(d demand) Reason {
	switch {
	case d.isBothAtInsecureMX():
		return InsecureMX
	case d.kind == byBoth:
		return Both
	case d.kind == byPin:
		return Pin
	case d.kind == encryptedByOperator:
		return Floor
	case d.kind == byDANE && t.Fingerprints && d.fingerprints() == nil:
		return NoResolver
	default:
		return Mixed
	}
}
