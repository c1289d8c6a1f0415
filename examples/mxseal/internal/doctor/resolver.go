package doctor

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/miekg/dns"
)

// dialer connects to a server, as net.Dialer.DialContext does.
type dialer func(ctx context.Context, network, addr string) (net.Conn, error)

// resolverTimeout is how long a DNS server may take.
const resolverTimeout = 5 * time.Second

// validates returns why Postfix does not get DNSSEC from a DNS server; nil if it does. It asks for what Postfix asks
// (dnssec_probe in postconf(5)), and wants the AD bit, which is all that Postfix looks at.
func validates(ctx context.Context, dial dialer, server string) error {
	question := new(dns.Msg).SetQuestion(".", dns.TypeNS).SetEdns0(1232, true)
	question.AuthenticatedData = true
	ctx, cancel := context.WithTimeout(ctx, resolverTimeout)
	defer cancel()
	conn, err := dial(ctx, "udp", net.JoinHostPort(server, "53"))
	if err != nil {
		return err
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline)
	}
	c := dns.Conn{Conn: conn}
	if err := c.WriteMsg(question); err != nil {
		return err
	}
	for {
		reply, err := c.ReadMsg()
		switch {
		case err != nil:
			return err
		case reply.Id != question.Id:
		case reply.Rcode != dns.RcodeSuccess:
			return errors.New("it answers " + dns.RcodeToString[reply.Rcode])
		case !reply.AuthenticatedData:
			return errors.New("it does not set the AD bit")
		default:
			return nil
		}
	}
}
