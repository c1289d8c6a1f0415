package policy

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/mxseal/mxseal/internal/names"
)

// nextHop is where the mail of a domain goes: a domain with MX records, a host
// that the operator names, or an address.
type nextHop struct {
	name string // in A-labels, without final dot; empty for an address
	addr netip.Addr
	port uint16
	// direct means that the name is the mail host itself: no MX lookup.
	direct bool
	// configured means that it comes from an Override or the option Via.
	configured bool
}

// String returns the name, or the address.
func (n nextHop) String() string {
	if n.addr.IsValid() {
		return n.addr.String()
	}
	return n.name
}

// text returns a configured next hop as parseNextHop reads it, with its port.
func (n nextHop) text() string {
	host := n.String()
	if n.direct {
		host = "[" + host + "]"
	}
	return host + ":" + strconv.Itoa(int(n.port))
}

// exempt reports whether mail goes to the next hop at whatever address: the
// operator, and not somebody's DNS records, says that it is the mail host.
func (n nextHop) exempt() bool { return n.configured && n.direct }

// parseNextHop reads an Override.NextHop or what Via is given: "name", "[name]" or "[address]",
// each optionally with ":port".
func parseNextHop(s string, defaultPort uint16) (nextHop, error) {
	hop := nextHop{port: defaultPort, configured: true}
	host, port := s, ""
	if rest, found := strings.CutPrefix(s, "["); found {
		inner, after, closed := strings.Cut(rest, "]")
		if !closed || after != "" && !strings.HasPrefix(after, ":") {
			return nextHop{}, errors.New("a next hop in brackets must end in ] or ]:port")
		}
		host, port, hop.direct = inner, after, true
	} else if colon := strings.IndexByte(s, ':'); colon >= 0 {
		host, port = s[:colon], s[colon:]
	}
	if port != "" {
		number, err := strconv.ParseUint(port[1:], 10, 16)
		if err != nil || number == 0 {
			return nextHop{}, errors.New("the port of a next hop must be a number from 1 to 65535")
		}
		hop.port = uint16(number)
	}
	if addr, err := names.ParseLiteral(host); hop.direct && err == nil {
		hop.addr = addr
		return hop, nil
	}
	name, err := canonicalDomain(host)
	hop.name = name
	return hop, err
}

// canonicalDomain is names.Canonical with errors that wrap ErrDomain.
func canonicalDomain(s string) (string, error) {
	name, err := names.Canonical(s)
	switch {
	case errors.Is(err, names.ErrAddress):
		return "", fmt.Errorf("%w: %w; put an address literal in brackets", ErrDomain, err)
	case err != nil:
		return "", fmt.Errorf("%w: %w", ErrDomain, err)
	}
	return name, nil
}
