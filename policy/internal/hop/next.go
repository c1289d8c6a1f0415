// Package hop has the way of mail to its mail hosts, as far as it follows from texts
// and records alone: the next hop that an operator configures, and the list of
// exchanges that MX records make.
package hop

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/mxseal/mxseal/internal/names"
)

// Next is where the mail of a domain goes: a domain with MX records, a host that
// the operator names, or an address.
type Next struct {
	Name string // in A-labels, without final dot; empty for an address
	Addr netip.Addr
	Port uint16
	// Direct means that the name is the mail host itself: no MX lookup.
	Direct bool
	// Configured means that the operator named it.
	Configured bool
}

// Parse reads a configured next hop: "name", "[name]" or "[address]", each optionally
// with ":port".
func Parse(s string, defaultPort uint16) (Next, error) {
	next := Next{Port: defaultPort, Configured: true}
	host, port := s, ""
	if rest, found := strings.CutPrefix(s, "["); found {
		inner, after, closed := strings.Cut(rest, "]")
		if !closed || after != "" && !strings.HasPrefix(after, ":") {
			return Next{}, errors.New("a next hop in brackets must end in ] or ]:port")
		}
		host, port, next.Direct = inner, after, true
	} else if colon := strings.IndexByte(s, ':'); colon >= 0 {
		host, port = s[:colon], s[colon:]
	}
	if port != "" {
		number, err := strconv.ParseUint(port[1:], 10, 16)
		if err != nil || number == 0 {
			return Next{}, errors.New("the port of a next hop must be a number from 1 to 65535")
		}
		next.Port = uint16(number)
	}
	if addr, err := names.ParseLiteral(host); next.Direct && err == nil {
		next.Addr = addr
		return next, nil
	}
	name, err := names.Canonical(host)
	switch {
	case errors.Is(err, names.ErrAddress):
		return Next{}, fmt.Errorf("not a domain name: %w; put an address in brackets", err)
	case err != nil:
		return Next{}, fmt.Errorf("not a domain name: %w", err)
	}
	next.Name = name
	return next, nil
}

// String returns the name, or the address.
func (n Next) String() string {
	if n.Addr.IsValid() {
		return n.Addr.String()
	}
	return n.Name
}

// Text returns a configured next hop in the form that Parse reads, with its port.
func (n Next) Text() string {
	host := n.String()
	if n.Direct {
		host = "[" + host + "]"
	}
	return host + ":" + strconv.Itoa(int(n.Port))
}

// Exempt reports whether mail goes to the next hop at whatever address: the
// operator, and not somebody's DNS records, says that it is the mail host.
func (n Next) Exempt() bool { return n.Configured && n.Direct }
