package policy

import (
	"cmp"
	"errors"
	"fmt"
	"unique"

	"github.com/mxseal/mxseal/dane"
	"github.com/mxseal/mxseal/internal/names"
	"github.com/mxseal/mxseal/policy/internal/decision"
	"github.com/mxseal/mxseal/policy/internal/hop"
)

// Option changes what one call asks for. An option with a value that is not valid,
// and options that contradict each other, make the call fail with ErrConfig. No option
// makes a session prove less than Config and the overrides demand.
type Option func(*call)

// call is a request while its options are applied one after the other.
type call struct {
	request
	port uint16 // of a next hop without one
	err  error  // the first option that cannot be used
}

// request is what a plan is made for; equal requests share a plan.
type request struct {
	domain      string
	via         unique.Handle[hop.Next] // the zero Handle without Via
	floor       Level                   // of AtLeast; Refused if it changes nothing
	family      hop.Family
	requireTLS  bool
	tlsOptional bool
	bounce      bool
	login       bool
	report      bool
}

// RequireTLS is for mail sent with REQUIRETLS (RFC 8689 section 2). The mail goes
// only to hosts that the domain's owner named, over TLS authenticated by DANE or
// the web PKI, and only to servers that offer REQUIRETLS. If no such host exists,
// the failure is permanent, so that the mail returns to its sender (RFC 8689
// section 4.2.1).
func RequireTLS() Option { return requireTLS }

// TLSOptional is for mail with the header field "TLS-Required: No" (RFC 8689
// section 3). It is sent as if DANE and MTA-STS did not exist. Config.Floor,
// overrides, AtLeast and Login stay in force because they are the operator's and not
// the recipient's. RequireTLS takes precedence.
func TLSOptional() Option { return tlsOptional }

// Report is for mail that carries a TLS report (RFC 8460 section 3). It is sent as with
// TLSOptional. In addition, Floor, RequireDANE and RequireRoute do not apply, neither
// those of Config nor those of an Override: otherwise a domain whose TLS fails would not
// get the report about it. Pins, AtLeast, RequireTLS and Login still apply. Other mail
// with "TLS-Required: No" has to meet what the operator requires.
func Report() Option { return report }

// Bounce is for mail with an empty return path, such as a bounce. It changes the
// meaning of RequireTLS: the hosts and the sessions must still meet it, but a server
// may lack the extension REQUIRETLS (RFC 8689 section 5). The mail would otherwise
// be lost.
func Bounce() Option { return bounce }

// AtLeast raises Config.Floor for one call. A lower level than the floor changes
// nothing. Refused is not a level that a session can have, and is an error.
func AtLeast(level Level) Option {
	return func(c *call) {
		if level == Refused || level > Authenticated {
			c.fail(fmt.Errorf("AtLeast: %d is not a level of sessions; use Opportunistic, Encrypted or Authenticated", level))
		}
		c.floor = max(c.floor, level)
	}
}

// Via sends the mail to a smart host, in the syntax of Override.NextHop. The smart
// host's domain is the one whose MTA-STS policy, TLSA records and reports count (RFC
// 8461 section 3.4).
//
// Of the Override of the recipient domain, only what raises applies to the smart
// host: Floor, RequireDANE and RequireRoute. NoDANE and NoMTASTS are about the
// recipient's records. If the Override has another NextHop, or a Pin, the call fails
// with ErrConfig: the mail must not go to the smart host then.
func Via(nextHop string) Option {
	next, err := hop.Parse(nextHop, 0)
	if err != nil {
		err = fmt.Errorf("Via(%q): %w", names.Printable(nextHop, maxText), err)
	}
	return func(c *call) { c.sendVia(next, err) }
}

// Login is for a session in which the client sends credentials. They must reach
// nobody but the host that the operator named. So the next hop must be a host: by
// Via or Override.NextHop, in brackets. The session must be authenticated for its
// name, by its TLSA records at the port in use or by the web PKI. TLSOptional changes
// nothing then.
func Login() Option { return login }

// IPv4Only uses only the IPv4 addresses of mail hosts, and IPv6Only only the IPv6
// addresses. What a session must prove still depends on both families. A host without
// an address of the family is refused with ErrUnreachable.
func IPv4Only() Option { return ipv4Only }

// IPv6Only uses only the IPv6 addresses of mail hosts; see IPv4Only.
func IPv6Only() Option { return ipv6Only }

func requireTLS(c *call)  { c.requireTLS = true }
func tlsOptional(c *call) { c.tlsOptional = true }
func bounce(c *call)      { c.bounce = true }
func report(c *call)      { c.report, c.tlsOptional = true, true }
func login(c *call)       { c.login = true }
func ipv4Only(c *call)    { c.only(hop.IPv4) }
func ipv6Only(c *call)    { c.only(hop.IPv6) }

func (c *call) sendVia(next hop.Next, err error) {
	if err != nil {
		c.fail(err)
		return
	}
	next.Port = cmp.Or(next.Port, c.port)
	via := unique.Make(next)
	if c.via != (unique.Handle[hop.Next]{}) && c.via != via {
		c.fail(fmt.Errorf("Via: the next hops %s and %s exclude each other", c.via.Value().Text(), next.Text()))
	}
	c.via = via
}

func (c *call) only(wanted hop.Family) {
	if c.family != hop.AnyFamily && c.family != wanted {
		c.fail(errors.New("IPv4Only and IPv6Only exclude each other"))
	}
	c.family = wanted
}

func (c *call) fail(err error) {
	if c.err == nil {
		c.err = err
	}
}

func newRequest(domain string) (request, *Error) {
	if !names.IsLiteral(domain) {
		name, err := canonicalDomain(domain)
		if err != nil {
			return request{}, notADomain(domain, err)
		}
		return request{domain: name}, nil
	}
	addr, err := names.ParseLiteral(domain[1 : len(domain)-1])
	if err != nil {
		return request{}, notADomain(domain, fmt.Errorf("%w: a bad address literal: %w", ErrDomain, err))
	}
	return request{domain: names.Literal(addr)}, nil
}

// with applies options. It is separate so that a request without options stays
// off the heap. Requests that ask for the same are equal afterwards: the floor is
// that of Config, and port the port of a next hop without one.
func (q request) with(options []Option, floor Level, port uint16) (request, *Error) {
	c := call{request: q, port: port}
	for _, option := range options {
		if option == nil {
			c.fail(errors.New("an option is nil"))
			break
		}
		option(&c)
	}
	if c.err != nil {
		return request{}, badOptions(q.domain, c.err)
	}
	q = c.request
	// Both require an authenticated server, and what the mail's sender says in
	// TLS-Required does not count then (RFC 8689 section 4.1).
	authenticated := q.requireTLS || q.login
	if q.report {
		floor = Opportunistic
	}
	if authenticated || q.floor <= max(floor, Opportunistic) {
		q.floor = Refused
	}
	q.tlsOptional = q.tlsOptional && !authenticated
	q.report = q.report && !authenticated
	q.bounce = q.bounce && q.requireTLS // other plans do not depend on it
	return q, nil
}

// options returns the options of the request in a fixed order.
func (q request) options() []string {
	var list []string
	for _, option := range []struct {
		text string
		set  bool
	}{
		{"RequireTLS", q.requireTLS},
		{"Bounce", q.bounce},
		{"TLSOptional", q.tlsOptional && !q.report},
		{"Report", q.report},
		{"Login", q.login},
		{"IPv4Only", q.family == hop.IPv4},
		{"IPv6Only", q.family == hop.IPv6},
		{"AtLeast(" + q.floor.String() + ")", q.floor != Refused},
	} {
		if option.set {
			list = append(list, option.text)
		}
	}
	if q.via != (unique.Handle[hop.Next]{}) {
		list = append(list, "Via("+q.via.Value().Text()+")")
	}
	return list
}

// question is one request with the operator's requirements for its domain.
type question struct {
	request
	hop    hop.Next
	wishes decision.Wishes
	pin    []dane.Record
	// Lookups to leave out: switched off by the operator, or without effect.
	noDANE, noMTASTS bool
}

// question adds the operator's requirements to a request.
func (r *Resolver) question(asked request) (question, *Error) {
	override, err := r.overrides.of(asked.domain)
	if err != nil {
		return question{}, badOverride(err)
	}
	q := question{
		request:  asked,
		wishes:   r.general,
		noDANE:   r.noDANE,
		noMTASTS: r.noMTASTS,
	}
	q.wishes.RequireTLS = asked.requireTLS
	q.wishes.TLSOptional = asked.tlsOptional
	q.wishes.Floor = max(q.wishes.Floor, decision.Level(override.Floor), decision.Level(asked.floor))
	q.wishes.RequireDANE = q.wishes.RequireDANE || override.RequireDANE
	q.wishes.RequireRoute = q.wishes.RequireRoute || override.RequireRoute
	if asked.report {
		q.wishes.Floor = decision.Level(asked.floor)
		q.wishes.RequireDANE, q.wishes.RequireRoute = false, false
	}
	switch next := asked.nextHop(r.port); {
	case asked.via == (unique.Handle[hop.Next]{}):
		q.hop = next
		if override.hop != nil {
			q.hop = *override.hop
		}
		q.follow(override)
	case override.hop != nil && *override.hop == next:
		q.hop = next
		q.follow(override)
	case override.hop != nil:
		return question{}, badOptions("", fmt.Errorf("Via(%s) and Override.NextHop, which is %s, exclude each other", next.Text(), override.hop.Text()))
	case len(override.Pin) > 0:
		return question{}, badOptions("", fmt.Errorf("Via(%s) and Override.Pin exclude each other: the pin is for the hosts of the domain", next.Text()))
	default:
		q.hop = next
	}
	if asked.login {
		if !q.hop.Exempt() {
			return question{}, badOptions("", errors.New("Login needs a next hop in brackets, so that credentials go to the named host only; use Via or Override.NextHop"))
		}
		q.wishes.Floor = decision.Authenticated
	}
	// Neither standard applies to an address (RFC 7672 section 2.2, RFC 8461
	// section 3.4), nor to mail with TLS-Required: No (RFC 8689 section 3). But DANE
	// that the operator requires is not the recipient's to waive.
	literal := q.hop.Addr.IsValid()
	q.noDANE = q.noDANE || literal || asked.tlsOptional && !q.wishes.RequireDANE
	q.noMTASTS = q.noMTASTS || literal || asked.tlsOptional
	return q, nil
}

// follow applies what an override says about the next hop that it is for.
func (q *question) follow(override domainOverride) {
	q.noDANE = q.noDANE || override.NoDANE
	q.noMTASTS = q.noMTASTS || override.NoMTASTS
	q.pin = override.Pin
	q.wishes.Pinned = len(override.Pin) > 0
}

// nextHop returns the next hop without an override.
func (q request) nextHop(port uint16) hop.Next {
	if q.via != (unique.Handle[hop.Next]{}) {
		return q.via.Value()
	}
	if names.IsLiteral(q.domain) {
		addr, _ := names.ParseLiteral(q.domain[1 : len(q.domain)-1]) // newRequest has read it
		return hop.Next{Addr: addr, Port: port, Direct: true}
	}
	return hop.Next{Name: q.domain, Port: port}
}

// canonicalDomain is names.Canonical with errors that wrap ErrDomain.
func canonicalDomain(s string) (string, error) {
	name, err := names.Canonical(s)
	switch {
	case err == nil:
		return name, nil
	case errors.Is(err, names.ErrAddress):
		return "", fmt.Errorf("%w: %w; put an address literal in brackets", ErrDomain, err)
	default:
		return "", fmt.Errorf("%w: %w", ErrDomain, err)
	}
}
