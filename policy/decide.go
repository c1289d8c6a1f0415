package policy

import "github.com/mxseal/mxseal/dane/dnssec"

// facts are what is known about one mail host. With the zero value, which knows
// nothing, the host is refused.
type facts struct {
	// mx is the status of the MX RRset, or of its denial. A lookup that failed
	// is neither Secure nor Insecure.
	mx dnssec.Status
	// tlsa is what DANE discovery found at the host.
	tlsa tlsaFact
	// mtasts is the MTA-STS policy in force for the domain.
	mtasts mtastsFact
	// listed is true if the host matches an mx pattern of that policy.
	listed bool
}

// tlsaFact is the outcome of RFC 7672 section 2.2 for one host.
type tlsaFact uint8

const (
	tlsaFailed   tlsaFact = iota // a lookup failed: bogus, SERVFAIL, timeout
	tlsaNone                     // denied, insecure, or not to be asked
	tlsaUnusable                 // a secure RRset without usable record
	tlsaUsable                   // a secure RRset with a usable record
)

// mtastsFact is the MTA-STS policy in force.
type mtastsFact uint8

const (
	mtastsUnknown mtastsFact = iota // not asked
	mtastsNone                      // no policy in force, or one of mode none
	mtastsTesting
	mtastsEnforce
)

// wishes are the requirements of the operator and of the message. The zero value
// has none.
type wishes struct {
	floor        Level
	requireDANE  bool // RFC 7672 section 6
	requireBoth  bool // Precedence RequireBoth
	requireRoute bool // Config.RequireRoute
	requireTLS   bool // RFC 8689 section 2
	tlsOptional  bool // RFC 8689 section 3, "TLS-Required: No"
	pinned       bool // the operator pinned TLSA records (Override.Pin)
	hostPinned   bool // the same for this host only (HostOverride.Pin)
}

// demands is what a session must prove, by mechanism. It only has a meaning
// together with Host.Level.
type demands struct {
	// dane requires a match with the TLSA records.
	dane bool
	// webPKI requires a certificate of the web PKI for the MX host name.
	webPKI bool
	// nextHop requires a certificate of the web PKI for the next-hop domain.
	nextHop bool
	// observe means that a report tells what an MTA-STS policy in testing mode
	// would have refused (RFC 8461 section 5).
	observe bool
}

// verdict is the decision for one host.
type verdict struct {
	level   Level
	by      Mechanism
	demands demands
	refusal refusal
	// routeAuthenticated is Host.RouteAuthenticated.
	routeAuthenticated bool
}

// refusal is why a host is refused.
type refusal uint8

const (
	notRefused refusal = iota
	mxLookupFailed
	tlsaLookupFailed
	policyNotAsked
	notInAllowList
	daneMissing
	routeUnauthenticated
	unreachable    // has no address, whatever the policies say
	specialAddress // has only addresses that are not dialed
)

// decide returns what a session with a host must prove. It depends on nothing but
// its arguments. RequireTLS overrides "TLS-Required: No" (RFC 8689 section 4.1).
func decide(f facts, w wishes) verdict {
	v := judge(f, w)
	if w.tlsOptional && !w.requireTLS {
		v = ignorePolicies(v)
	}
	if w.pinned || w.hostPinned {
		v = demandPin(v)
	}
	v.routeAuthenticated = f.routeAuthenticated()
	if w.requireDANE {
		v = demandDANE(v, f)
	}
	if w.requireTLS {
		v = demandRequireTLS(v)
	}
	if w.requireRoute {
		v = demandRoute(v, f, w)
	}
	return raise(v, w.floor)
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
func judge(f facts, w wishes) verdict {
	switch {
	case f.mx != dnssec.Secure && f.mx != dnssec.Insecure:
		return refuse(mxLookupFailed, 0)
	case f.tlsa == tlsaFailed:
		return refuse(tlsaLookupFailed, ByDANE)
	case f.mx == dnssec.Secure && f.tlsa == tlsaUsable && !w.requireBoth:
		return authenticate(ByDANE, demands{dane: true})
	case f.mtasts == mtastsUnknown:
		return refuse(policyNotAsked, ByMTASTS)
	case f.mtasts == mtastsEnforce && !f.listed:
		return refuse(notInAllowList, ByMTASTS)
	case f.mtasts == mtastsEnforce && f.tlsa == tlsaUsable:
		return authenticate(ByDANE|ByMTASTS, demands{dane: true, webPKI: true})
	case f.mtasts == mtastsEnforce:
		return authenticate(ByMTASTS, demands{webPKI: true})
	}

	// Testing mode changes nothing but the reports (RFC 8461 section 5).
	observe := f.mtasts == mtastsTesting
	switch f.tlsa {
	case tlsaUsable:
		return authenticate(ByDANE, demands{dane: true, observe: observe})
	case tlsaUnusable:
		return verdict{level: Encrypted, by: ByDANE, demands: demands{observe: observe}}
	default:
		return verdict{level: Opportunistic, demands: demands{observe: observe}}
	}
}

func authenticate(by Mechanism, d demands) verdict {
	return verdict{level: Authenticated, by: by, demands: d}
}

func refuse(why refusal, by Mechanism) verdict {
	return verdict{level: Refused, by: by, refusal: why}
}

// routeAuthenticated reports whether the domain's owner named the host. For
// RFC 8689 section 4.2.1 a policy in testing mode names hosts as well as an
// enforced one does.
func (f facts) routeAuthenticated() bool {
	named := f.mtasts == mtastsEnforce || f.mtasts == mtastsTesting
	return f.mx == dnssec.Secure || named && f.listed
}

// ignorePolicies decides as if DANE and MTA-STS did not exist, also if they refuse
// the host (RFC 8689 sections 3 and 8.4). If the MX lookup failed, no host is known.
func ignorePolicies(v verdict) verdict {
	if v.refusal == mxLookupFailed {
		return v
	}
	return verdict{level: Opportunistic}
}

// demandPin requires a match with the pinned records, whatever the mail or the
// recipient say.
func demandPin(v verdict) verdict {
	if v.level == Refused {
		return v
	}
	v.level = Authenticated
	v.by |= ByDANE | ByOperator
	v.demands.dane = true
	return v
}

// demandDANE makes DANE mandatory: RFC 7672 section 6, and section 2.2.1 for
// MX records that are not secure. It is the operator's requirement, so usable records
// count also where "TLS-Required: No" makes the recipient's policies not apply.
func demandDANE(v verdict, f facts) verdict {
	switch {
	case v.level == Refused:
		return v
	case f.mx != dnssec.Secure || !v.demands.dane && f.tlsa != tlsaUsable:
		return verdict{level: Refused, by: ByDANE | ByOperator, refusal: daneMissing, routeAuthenticated: v.routeAuthenticated}
	}
	v.level = Authenticated
	v.by |= ByDANE | ByOperator
	v.demands.dane = true
	return v
}

// demandRequireTLS requires an authenticated route and an authenticated server
// (RFC 8689 section 4.2.1).
func demandRequireTLS(v verdict) verdict {
	switch {
	case v.level == Refused:
		return v
	case !v.routeAuthenticated:
		return verdict{level: Refused, by: ByOperator, refusal: routeUnauthenticated}
	}
	return raise(v, Authenticated)
}

// demandRoute requires an authenticated route. A policy in testing mode does not
// authenticate it: its failures do not count. Nor does a pin of the host, which a
// forged MX record may name. Without anything that names the host,
// the certificate has to be for the domain that the mail is for.
func demandRoute(v verdict, f facts, w wishes) verdict {
	switch {
	case v.level == Refused:
		return v
	case f.mx == dnssec.Secure || f.mtasts == mtastsEnforce && f.listed || w.pinned:
		return raise(v, Authenticated)
	}
	v.level = Authenticated
	v.by |= ByOperator
	v.demands.nextHop = true
	return v
}

// raise raises a level to the operator's floor and keeps what a policy demands. A
// host without a policy is then authenticated by the web PKI.
func raise(v verdict, floor Level) verdict {
	if v.level == Refused || v.level >= floor {
		return v
	}
	v.level = floor
	v.by |= ByOperator
	if floor == Authenticated {
		v.demands.webPKI = true
	}
	return v
}
