package policy

import (
	"errors"
	"fmt"
	"slices"

	"github.com/mxseal/mxseal/dane"
	"github.com/mxseal/mxseal/internal/names"
)

// Option changes what one call asks for. RequireTLS, TLSOptional and Bounce return
// one.
type Option func(*request)

// request is what a plan is made for; equal requests share a plan.
type request struct {
	domain      string
	requireTLS  bool
	tlsOptional bool
	bounce      bool
}

// RequireTLS is for mail sent with REQUIRETLS (RFC 8689 section 2). The mail goes
// only to hosts that the domain's owner named, over TLS authenticated by DANE or
// the web PKI, and only to servers that offer REQUIRETLS. If no such host exists,
// the failure is permanent, so that the mail returns to its sender (RFC 8689
// section 4.2.1).
func RequireTLS() Option { return requireTLS }

// TLSOptional is for mail with the header field "TLS-Required: No" (RFC 8689
// section 3). It is sent as if DANE and MTA-STS did not exist. Config.Floor and
// overrides stay in force because they are the operator's and not the
// recipient's. RequireTLS takes precedence.
func TLSOptional() Option { return tlsOptional }

// Bounce is for mail with an empty return path, such as a bounce. It changes the
// meaning of RequireTLS: the hosts and the sessions must still meet it, but a server
// may lack the extension REQUIRETLS (RFC 8689 section 5). The mail would otherwise
// be lost.
func Bounce() Option { return bounce }

func requireTLS(r *request)  { r.requireTLS = true }
func tlsOptional(r *request) { r.tlsOptional = true }
func bounce(r *request)      { r.bounce = true }

func newRequest(domain string, options []Option) (request, error) {
	asked := request{domain: domain}
	if !names.IsLiteral(domain) {
		name, err := canonicalDomain(domain)
		if err != nil {
			return request{}, notADomain(domain, err)
		}
		asked.domain = name
	}
	if len(options) > 0 {
		asked = asked.with(options)
	}
	return asked, nil
}

// with applies options. It is separate so that a request without options stays
// off the heap.
func (q request) with(options []Option) request {
	for _, option := range options {
		option(&q)
	}
	q.bounce = q.bounce && q.requireTLS // other plans do not depend on it
	return q
}

// override is an Override as New has read it.
type override struct {
	Override
	hop *nextHop // nil for the domain itself
}

func (r *Resolver) addOverride(domain string, wish Override) error {
	name, err := canonicalDomain(domain)
	if err != nil {
		return err
	}
	if _, again := r.overrides[name]; again {
		return fmt.Errorf("two overrides are for the domain %s; remove one", name)
	}
	if (wish.NoDANE || r.noDANE) && (wish.RequireDANE || r.general.requireDANE) {
		return errors.New("NoDANE and RequireDANE exclude each other, also if one of them is in Config; remove one")
	}
	if wish.Floor > Authenticated {
		return errors.New("the field Floor is not a Level; use one of the constants")
	}
	read := override{Override: wish}
	read.Pin = dane.Select(cloneRecords(wish.Pin))
	if len(wish.Pin) > 0 && len(read.Pin) == 0 {
		return errors.New("the field Pin has no usable record; use DANE-TA or DANE-EE records")
	}
	if wish.NextHop != "" {
		hop, err := parseNextHop(wish.NextHop, r.port)
		if err != nil {
			return fmt.Errorf("the field NextHop %q: %w", wish.NextHop, err)
		}
		read.hop = &hop
	}
	r.overrides[name] = read
	return nil
}

// cloneRecords copies records, which the caller may change after New.
func cloneRecords(records []dane.Record) []dane.Record {
	cloned := slices.Clone(records)
	for i := range cloned {
		cloned[i].Data = slices.Clone(cloned[i].Data)
	}
	return cloned
}

// question is one request with the operator's wishes for its domain.
type question struct {
	request
	hop    nextHop
	wishes wishes
	pin    []dane.Record
	// Lookups to leave out: switched off by the operator, or without effect.
	noDANE, noMTASTS bool
}

// question adds the operator's wishes to a request.
func (r *Resolver) question(asked request) (question, *Error) {
	q := question{
		request:  asked,
		wishes:   r.general,
		noDANE:   r.noDANE,
		noMTASTS: r.noMTASTS,
	}
	q.wishes.requireTLS = asked.requireTLS
	q.wishes.tlsOptional = asked.tlsOptional
	if names.IsLiteral(asked.domain) {
		addr, err := names.ParseLiteral(asked.domain[1 : len(asked.domain)-1])
		if err != nil {
			return question{}, notADomain(asked.domain, fmt.Errorf("%w: a bad address literal: %w", ErrDomain, err))
		}
		q.hop = nextHop{addr: addr, port: r.port, direct: true}
	} else {
		q.hop = nextHop{name: asked.domain, port: r.port}
	}
	if wish, found := r.overrides[asked.domain]; found {
		q.wishes.floor = max(q.wishes.floor, wish.Floor)
		q.wishes.requireDANE = q.wishes.requireDANE || wish.RequireDANE
		q.wishes.requireRoute = q.wishes.requireRoute || wish.RequireRoute
		q.noDANE = q.noDANE || wish.NoDANE
		q.noMTASTS = q.noMTASTS || wish.NoMTASTS
		q.pin = wish.Pin
		q.wishes.pinned = len(wish.Pin) > 0
		if wish.hop != nil {
			q.hop = *wish.hop
		}
	}
	// Neither standard applies to an address (RFC 7672 section 2.2, RFC 8461
	// section 3.4), nor to mail with TLS-Required: No (RFC 8689 section 3).
	if q.hop.addr.IsValid() || asked.tlsOptional && !asked.requireTLS {
		q.noDANE, q.noMTASTS = true, true
	}
	return q, nil
}
