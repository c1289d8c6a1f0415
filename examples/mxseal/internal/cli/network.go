package cli

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/policy"
)

// Network are the options about the network: DNS servers, trust anchors, and what a
// private network needs.
type Network struct {
	servers []string
	anchor  string
	hosts   string
	zones   []dnssec.PrivateZone
	ca      string
	allowed []netip.Prefix
}

// Register adds the options to those of a subcommand.
func (n *Network) Register(flags *Flags) {
	flags.StringVar(&n.anchor, "anchor", "", "")
	flags.StringVar(&n.hosts, "hosts", "", "")
	flags.StringVar(&n.ca, "ca", "", "")
	flags.Func("server", "", func(list string) error {
		n.servers = append(n.servers, strings.Split(list, ",")...)
		return nil
	})
	flags.Func("zone", "", func(text string) error {
		name, servers, _ := strings.Cut(text, "=")
		if name == "" {
			return errors.New("want ZONE or ZONE=SERVER[,SERVER]")
		}
		zone := dnssec.PrivateZone{Zone: name}
		if servers != "" {
			zone.Servers = strings.Split(servers, ",")
		}
		n.zones = append(n.zones, zone)
		return nil
	})
	flags.Func("allow", "", func(text string) error {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return errors.New("want a network such as 10.0.0.0/8")
		}
		n.allowed = append(n.allowed, prefix.Masked())
		return nil
	})
}

// Sender looks up and decides as a sender of mail does. Close it after use.
type Sender struct {
	*policy.Resolver
	DNS   dnssec.Resolver
	Roots *x509.CertPool // of the web PKI; nil means those of the system
	Dial  func(ctx context.Context, network, addr string) (net.Conn, error)
	Now   func() time.Time
}

// Open returns a sender with these options.
func (n *Network) Open(env *Env) (*Sender, error) {
	dns, config := env.DNS, env.Policy
	if n.servers != nil {
		dns.Servers = n.servers
	}
	if n.anchor != "" {
		dns.AnchorFile = n.anchor
	}
	if n.hosts != "" {
		dns.HostsFile = n.hosts
	}
	dns.PrivateZones = append(dns.PrivateZones, n.zones...)
	if n.ca != "" {
		pool, err := n.roots()
		if err != nil {
			return nil, err
		}
		config.RootCAs = pool
	}
	config.AllowPolicyHost = n.permit(config.AllowPolicyHost)
	config.AllowMailHost = n.permit(config.AllowMailHost)
	validator, err := dnssec.New(dns)
	if err != nil {
		return nil, err
	}
	config.DNS = validator
	resolver, err := policy.New(config)
	if err != nil {
		return nil, err
	}
	s := &Sender{Resolver: resolver, DNS: validator, Roots: config.RootCAs, Dial: config.Dial, Now: config.Now}
	if s.Dial == nil {
		s.Dial = new(net.Dialer).DialContext
	}
	if s.Now == nil {
		s.Now = time.Now
	}
	return s, nil
}

// roots returns the roots of the system and those in the file.
func (n *Network) roots() (*x509.CertPool, error) {
	text, err := os.ReadFile(n.ca)
	if err != nil {
		return nil, err
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s has no certificate in PEM", n.ca)
	}
	return pool, nil
}

// permit returns a function that permits the addresses in the networks of -allow, and those that the
// function also permits.
func (n *Network) permit(also func(netip.Addr) bool) func(netip.Addr) bool {
	return func(addr netip.Addr) bool {
		for _, prefix := range n.allowed {
			if prefix.Contains(addr.Unmap()) {
				return true
			}
		}
		return also != nil && also(addr)
	}
}
