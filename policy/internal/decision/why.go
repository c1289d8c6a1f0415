package decision

import "github.com/mxseal/mxseal/dane/dnssec"

// Why says in one sentence why a host that is not refused has its level. f and w are
// what Decide was given. absent is used where no policy demands anything.
func (v Verdict) Why(f Facts, w Wishes, absent Absence) string {
	pinned := v.Demands.DANE && (w.Pinned || w.HostPinned)
	switch {
	case v.Demands.NextHop:
		return "nothing authenticates the route; the operator requires a certificate for the next-hop domain"
	case pinned && v.By&ByMTASTS != 0:
		return "TLSA records that the operator pinned and an enforced MTA-STS policy: the session must meet both"
	case pinned && f.MX != dnssec.Secure:
		return "TLSA records that the operator pinned, at a host found by an MX record that is not secure"
	case pinned:
		return "TLSA records that the operator pinned"
	case v.Demands.DANE && v.By&ByMTASTS != 0:
		return "usable TLSA records and an enforced MTA-STS policy: the session must meet both"
	case v.Demands.DANE && f.MX != dnssec.Secure:
		return "usable TLSA records, found by an MX record that is not secure: the host is authenticated, the route to it is not"
	case v.Demands.DANE:
		return "usable TLSA records, found securely"
	case v.By&ByMTASTS != 0:
		return "an enforced MTA-STS policy lists the host"
	case v.Demands.WebPKI:
		return absent.text(toWebPKI)
	case v.Level == Encrypted && f.TLSA == TLSAUnusable:
		return "secure TLSA records, none of them usable: encryption without authentication"
	case v.Level == Encrypted:
		return absent.text(toEncryption)
	case w.TLSOptional:
		return "the mail says TLS-Required: No: DANE and MTA-STS do not apply"
	case v.Demands.Observe && !f.Listed:
		return "an MTA-STS policy in testing mode does not list the host: enforce would refuse it"
	case v.Demands.Observe:
		return "an MTA-STS policy in testing mode: a failure is only recorded"
	default:
		return absent.text(toNothing)
	}
}
