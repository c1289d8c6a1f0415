package dnssec

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// LookupTXT returns the TXT records of name through any Resolver, each with
// its strings joined, and when they expire. If there are none, the error is a
// *net.DNSError with IsNotFound, and the time says until when that holds. Any
// other error means that nothing is known. The status of the answer plays no
// part.
func LookupTXT(ctx context.Context, r Resolver, name string) (txts []string, expires time.Time, err error) {
	a, err := r.Lookup(ctx, name, dns.TypeTXT)
	if err != nil {
		return nil, time.Time{}, err
	}
	for _, rr := range a.Records {
		if txt, ok := rr.(*dns.TXT); ok {
			txts = append(txts, joinTXT(txt))
		}
	}
	if len(txts) == 0 {
		return nil, a.Expires, notFound(name)
	}
	return txts, a.Expires, nil
}

// joinTXT undoes the escapes in which the dns package keeps the strings.
func joinTXT(txt *dns.TXT) string {
	var b strings.Builder
	for _, s := range txt.Txt {
		unescape(&b, s)
	}
	return b.String()
}

func unescape(b *strings.Builder, s string) {
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		i++
		if i+2 < len(s) && isDigit(s[i]) && isDigit(s[i+1]) && isDigit(s[i+2]) {
			b.WriteByte((s[i]-'0')*100 + (s[i+1]-'0')*10 + s[i+2] - '0')
			i += 2
			continue
		}
		b.WriteByte(s[i])
	}
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// LookupNetIP returns the addresses of host through any Resolver; network is
// "ip", "ip4" or "ip6". With "ip" both families are asked for at once, and one
// that fails is an error only if the other gives no address. If there are none,
// the error is a *net.DNSError with IsNotFound. The status of the answers plays
// no part.
func LookupNetIP(ctx context.Context, r Resolver, network, host string) (addrs []netip.Addr, err error) {
	if addr, err := netip.ParseAddr(host); err == nil {
		return literal(addr, network)
	}
	var types []uint16
	switch network {
	case "ip":
		types = []uint16{dns.TypeA, dns.TypeAAAA}
	case "ip4":
		types = []uint16{dns.TypeA}
	case "ip6":
		types = []uint16{dns.TypeAAAA}
	default:
		return nil, net.UnknownNetworkError(network)
	}
	type outcome struct {
		answer *Answer
		err    error
	}
	outcomes := make([]chan outcome, len(types))
	for i, qtype := range types {
		outcomes[i] = make(chan outcome, 1)
		go func() {
			a, err := r.Lookup(ctx, host, qtype)
			outcomes[i] <- outcome{a, err}
		}()
	}
	for _, c := range outcomes {
		o := <-c
		if o.err != nil {
			err = o.err
			continue
		}
		addrs = append(addrs, addresses(o.answer)...)
	}
	switch {
	case len(addrs) > 0:
		return addrs, nil
	case err != nil:
		return nil, err
	default:
		return nil, notFound(host)
	}
}

func literal(addr netip.Addr, network string) ([]netip.Addr, error) {
	if network == "ip4" && !addr.Unmap().Is4() || network == "ip6" && addr.Unmap().Is4() {
		return nil, notFound(addr.String())
	}
	return []netip.Addr{addr}, nil
}

func addresses(a *Answer) []netip.Addr {
	var addrs []netip.Addr
	for _, rr := range a.Records {
		var addr netip.Addr
		switch rr := rr.(type) {
		case *dns.A:
			addr, _ = netip.AddrFromSlice(rr.A)
		case *dns.AAAA:
			addr, _ = netip.AddrFromSlice(rr.AAAA.To16())
		}
		if rr.Header().Rrtype == dns.TypeA {
			addr = addr.Unmap()
		}
		if addr.IsValid() {
			addrs = append(addrs, addr)
		}
	}
	return addrs
}

func notFound(name string) error {
	return &net.DNSError{Err: "no such host or record", Name: name, IsNotFound: true}
}

// LookupTXT is like the method of *net.Resolver, over validated answers.
func (v *Validator) LookupTXT(ctx context.Context, name string) ([]string, error) {
	txts, _, err := LookupTXT(ctx, v, name)
	return txts, err
}

// LookupTXTUntil is LookupTXT that also says when the records, or their
// absence, expire.
func (v *Validator) LookupTXTUntil(ctx context.Context, name string) ([]string, time.Time, error) {
	return LookupTXT(ctx, v, name)
}

// LookupNetIP is like the method of *net.Resolver, over validated answers.
func (v *Validator) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	return LookupNetIP(ctx, v, network, host)
}
