// Package decision has the decision table: what a session with one mail host must
// prove. It knows nothing but the facts and the wishes that it is given, so package
// policy gathers both, and says in its own words what follows.
package decision

import "github.com/mxseal/mxseal/dane/dnssec"

// Facts are what is known about one mail host. With the zero value, which knows
// nothing, the host is refused.
type Facts struct {
	// MX is the status of the MX RRset, or of its denial. A lookup that failed
	// is neither Secure nor Insecure.
	MX dnssec.Status
	// TLSA is what DANE discovery found at the host.
	TLSA TLSA
	// MTASTS is the MTA-STS policy in force for the domain.
	MTASTS MTASTS
	// Listed is true if the host matches an mx pattern of that policy.
	Listed bool
}

// TLSA is the outcome of RFC 7672 section 2.2 for one host.
type TLSA uint8

const (
	TLSAFailed   TLSA = iota // a lookup failed: bogus, SERVFAIL, timeout
	TLSANone                 // denied, insecure, or not to be asked
	TLSAUnusable             // a secure RRset without usable record
	TLSAUsable               // a secure RRset with a usable record
)

// MTASTS is the MTA-STS policy in force.
type MTASTS uint8

const (
	MTASTSUnknown MTASTS = iota // not asked
	MTASTSNone                  // no policy in force, or one of mode none
	MTASTSTesting
	MTASTSEnforce
)

// Wishes are the requirements of the operator and of the message. The zero value
// has none.
type Wishes struct {
	Floor        Level
	RequireDANE  bool // RFC 7672 section 6
	RequireBoth  bool // Precedence RequireBoth
	RequireRoute bool // Config.RequireRoute
	RequireTLS   bool // RFC 8689 section 2
	TLSOptional  bool // RFC 8689 section 3, "TLS-Required: No"
	Pinned       bool // the operator pinned TLSA records (Override.Pin)
	HostPinned   bool // the same for this host only (HostOverride.Pin)
}

// Least returns what the operator demands of a session, whatever DNS says about the host.
func (w Wishes) Least() Level {
	if w.RequireDANE || w.RequireRoute || w.Pinned || w.HostPinned {
		return Authenticated
	}
	return max(w.Floor, Opportunistic)
}

// Verdict is the decision for one host. The zero value refuses it.
type Verdict struct {
	Level   Level
	By      Mechanism
	Demands Demands
	Refusal Refusal
	// RouteAuthenticated is true if the domain's owner named the host.
	RouteAuthenticated bool
}

// Level is what a session must prove, as policy.Level explains.
type Level uint8

const (
	Refused Level = iota
	Opportunistic
	Encrypted
	Authenticated
)

// Mechanism is the set of mechanisms that decided, as policy.Mechanism explains.
type Mechanism uint8

const (
	ByDANE Mechanism = 1 << iota
	ByMTASTS
	ByOperator
)

// Demands is what a session must prove, by mechanism. It only has a meaning
// together with the level.
type Demands struct {
	// DANE requires a match with the TLSA records.
	DANE bool
	// WebPKI requires a certificate of the web PKI for the MX host name.
	WebPKI bool
	// NextHop requires a certificate of the web PKI for the next-hop domain.
	NextHop bool
	// Observe means that a report tells what an MTA-STS policy in testing mode
	// would have refused (RFC 8461 section 5).
	Observe bool
}

// Refusal is why a host is refused.
type Refusal uint8

const (
	NotRefused Refusal = iota
	MXLookupFailed
	TLSALookupFailed
	PolicyNotAsked
	NotInAllowList
	DANEMissing
	RouteUnauthenticated
	Unreachable    // has no address, whatever the policies say
	SpecialAddress // has only addresses that are not dialed
)

// Decide returns what a session with a host must prove. It depends on nothing but
// its arguments. RequireTLS overrides "TLS-Required: No" (RFC 8689 section 4.1).
func Decide(f Facts, w Wishes) Verdict {
	v := judge(f, w)
	if w.TLSOptional && !w.RequireTLS {
		v = ignorePolicies(v)
	}
	if w.Pinned || w.HostPinned {
		v = demandPin(v)
	}
	v.RouteAuthenticated = f.authenticateRoute()
	if w.RequireDANE {
		v = demandDANE(v, f)
	}
	if w.RequireTLS {
		v = demandRequireTLS(v)
	}
	if w.RequireRoute {
		v = demandRoute(v, f, w)
	}
	return raise(v, w.Floor)
}

// judge is the decision table. A lookup that fails never counts as "none";
// where two standards apply, neither excuses a failure of the other.
//
//	MX          TLSA       MTA-STS      the session must
//	failed                              not happen: the domain waits
//	            failed                  not happen: the host is refused
//	secure      usable                  be authenticated by DANE
//	insecure    usable     enforce      match allow-list, web PKI and DANE
//	insecure    usable     no enforce   be authenticated by DANE
//	            not usable enforce      match allow-list and web PKI
//	            none       enforce      match allow-list and web PKI
//	            not usable no enforce   be encrypted
//	            none       no enforce   be opportunistic
func judge(f Facts, w Wishes) Verdict {
	switch {
	case f.MX != dnssec.Secure && f.MX != dnssec.Insecure:
		return refuse(MXLookupFailed, 0)
	case f.TLSA == TLSAFailed:
		return refuse(TLSALookupFailed, ByDANE)
	case f.MX == dnssec.Secure && f.TLSA == TLSAUsable && !w.RequireBoth:
		return authenticate(ByDANE, Demands{DANE: true})
	case f.MTASTS == MTASTSUnknown:
		return refuse(PolicyNotAsked, ByMTASTS)
	case f.MTASTS == MTASTSEnforce && !f.Listed:
		return refuse(NotInAllowList, ByMTASTS)
	case f.MTASTS == MTASTSEnforce && f.TLSA == TLSAUsable:
		return authenticate(ByDANE|ByMTASTS, Demands{DANE: true, WebPKI: true})
	case f.MTASTS == MTASTSEnforce:
		return authenticate(ByMTASTS, Demands{WebPKI: true})
	}

	// Testing mode changes nothing but the reports (RFC 8461 section 5).
	observe := f.MTASTS == MTASTSTesting
	switch f.TLSA {
	case TLSAUsable:
		return authenticate(ByDANE, Demands{DANE: true, Observe: observe})
	case TLSAUnusable:
		return Verdict{Level: Encrypted, By: ByDANE, Demands: Demands{Observe: observe}}
	default:
		return Verdict{Level: Opportunistic, Demands: Demands{Observe: observe}}
	}
}

func authenticate(by Mechanism, d Demands) Verdict {
	return Verdict{Level: Authenticated, By: by, Demands: d}
}

func refuse(why Refusal, by Mechanism) Verdict {
	return Verdict{Level: Refused, By: by, Refusal: why}
}

// authenticateRoute reports whether the domain's owner named the host. For
// RFC 8689 section 4.2.1 a policy in testing mode names hosts as well as an
// enforced one does.
func (f Facts) authenticateRoute() bool {
	named := f.MTASTS == MTASTSEnforce || f.MTASTS == MTASTSTesting
	return f.MX == dnssec.Secure || named && f.Listed
}

// ignorePolicies decides as if DANE and MTA-STS did not exist, even if they refuse the
// host (RFC 8689 sections 3 and 8.4). If the MX lookup failed, no host is known.
func ignorePolicies(v Verdict) Verdict {
	if v.Refusal == MXLookupFailed {
		return v
	}
	return Verdict{Level: Opportunistic}
}

// demandPin requires a match with the pinned records, whatever the mail or the
// recipient say.
func demandPin(v Verdict) Verdict {
	if v.Level == Refused {
		return v
	}
	v.Level = Authenticated
	v.By |= ByDANE | ByOperator
	v.Demands.DANE = true
	return v
}

// demandDANE makes DANE mandatory: RFC 7672 section 6, and section 2.2.1 for MX records
// that are not secure. It is the operator's requirement, so usable records count even
// where the recipient's policies do not apply because of "TLS-Required: No".
func demandDANE(v Verdict, f Facts) Verdict {
	switch {
	case v.Level == Refused:
		return v
	case f.MX != dnssec.Secure || !v.Demands.DANE && f.TLSA != TLSAUsable:
		return Verdict{Level: Refused, By: ByDANE | ByOperator, Refusal: DANEMissing, RouteAuthenticated: v.RouteAuthenticated}
	}
	v.Level = Authenticated
	v.By |= ByDANE | ByOperator
	v.Demands.DANE = true
	return v
}

// demandRequireTLS requires an authenticated route and an authenticated server
// (RFC 8689 section 4.2.1).
func demandRequireTLS(v Verdict) Verdict {
	switch {
	case v.Level == Refused:
		return v
	case !v.RouteAuthenticated:
		return Verdict{Level: Refused, By: ByOperator, Refusal: RouteUnauthenticated}
	}
	return raise(v, Authenticated)
}

// demandRoute requires an authenticated route. A policy in testing mode does not
// authenticate it: its failures do not count. Nor does a pin of the host, which a
// forged MX record may name. Without anything that names the host,
// the certificate has to be for the domain that the mail is for.
func demandRoute(v Verdict, f Facts, w Wishes) Verdict {
	switch {
	case v.Level == Refused:
		return v
	case f.MX == dnssec.Secure || f.MTASTS == MTASTSEnforce && f.Listed || w.Pinned:
		return raise(v, Authenticated)
	}
	v.Level = Authenticated
	v.By |= ByOperator
	v.Demands.NextHop = true
	return v
}

// raise raises a level to the operator's floor and keeps what a policy demands. A
// host without a policy is then authenticated by the web PKI.
func raise(v Verdict, floor Level) Verdict {
	if v.Level == Refused || v.Level >= floor {
		return v
	}
	v.Level = floor
	v.By |= ByOperator
	if floor == Authenticated {
		v.Demands.WebPKI = true
	}
	return v
}
