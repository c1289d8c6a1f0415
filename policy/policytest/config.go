package policytest

import (
	"time"

	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/mtasts"
	"github.com/mxseal/mxseal/policy"
)

// Config returns a configuration for policy.New, all of whose parts are in this
// internet. Each one stands for another sender, with empty caches.
func (inet *Internet) Config() policy.Config {
	return policy.Config{
		DNS:             inet.DNS(),
		RootCAs:         inet.RootCAs(),
		Dial:            inet.Dial,
		AllowPolicyHost: inet.Contains,
		Now:             inet.Now,
	}
}

// DNS returns a new validating resolver with an empty cache.
func (inet *Internet) DNS() *dnssec.Validator {
	v, err := dnssec.New(inet.DNSConfig())
	if err != nil {
		panic("policytest: " + err.Error()) // the configuration is ours
	}
	return v
}

// DNSConfig returns the configuration of a validating resolver.
func (inet *Internet) DNSConfig() dnssec.Config {
	return dnssec.Config{
		Servers: []string{inet.DNSAddr()},
		Anchors: inet.TrustAnchors(),
		Now:     inet.Now,
		Timeout: time.Second, // nobody is far away here
	}
}

// MTASTSConfig returns the configuration of an MTA-STS client, with a resolver
// of its own.
func (inet *Internet) MTASTSConfig() mtasts.Config {
	return mtasts.Config{
		Resolver:  inet.DNS(),
		RootCAs:   inet.RootCAs(),
		Dial:      inet.Dial,
		AllowAddr: inet.Contains,
		Now:       inet.Now,
	}
}
