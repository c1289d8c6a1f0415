package mtasts

import (
	"context"
	"net"
	"net/netip"
	"time"

	"github.com/mxseal/mxseal/internal/special"
)

const (
	policyPort = "443"
	// maxAddrs limits the addresses of a policy host that are tried, half of them
	// for each address family.
	maxAddrs = 8
	// connectTimeout limits each attempt.
	connectTimeout = 10 * time.Second
)

// dialer connects to policy hosts, but not to hosts in the sender's own network.
type dialer struct {
	resolver  Resolver
	dial      func(ctx context.Context, network, addr string) (net.Conn, error)
	allowAddr func(netip.Addr) bool
}

// connect dials the addresses of host, one after another. It dials the addresses
// that it has checked; the name is not looked up again.
func (d *dialer) connect(ctx context.Context, host string) (net.Conn, error) {
	addrs, err := d.addrs(ctx, host)
	if err != nil {
		return nil, err
	}
	var failed error
	for _, addr := range addrs {
		conn, err := d.dialAddr(ctx, net.JoinHostPort(addr.String(), policyPort))
		if err == nil {
			return conn, nil
		}
		failed = err
		if ctx.Err() != nil {
			break
		}
	}
	if ctx.Err() != nil || isTimeout(failed) {
		return nil, &Error{Kind: KindFetch, ReasonCode: "timeout", Err: failed}
	}
	return nil, &Error{Kind: KindFetch, ReasonCode: "connect", Err: failed}
}

func (d *dialer) dialAddr(ctx context.Context, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	return d.dial(ctx, "tcp", addr)
}

// addrs returns the addresses of host that may be dialed, at least one.
func (d *dialer) addrs(ctx context.Context, host string) ([]netip.Addr, error) {
	found, err := d.resolver.LookupNetIP(ctx, "ip", rooted(host))
	if err != nil {
		return nil, &Error{Kind: KindFetch, ReasonCode: dnsReason(err), Err: err}
	}
	if len(found) == 0 {
		return nil, failf(KindFetch, "dns-not-found", "the policy host has no address")
	}
	var addrs []netip.Addr
	var refused netip.Addr
	room := map[bool]int{true: maxAddrs / 2, false: maxAddrs / 2}
	for _, addr := range found {
		addr = addr.Unmap()
		switch {
		case special.Is(addr) && !d.allowAddr(addr):
			refused = addr
		case room[addr.Is4()] > 0:
			room[addr.Is4()]--
			addrs = append(addrs, addr)
		}
	}
	if len(addrs) == 0 {
		return nil, failf(KindFetch, "address-refused", "the policy host has the special-purpose address %s, which Config.AllowAddr does not permit", refused)
	}
	return addrs, nil
}
