package policytest

import (
	"time"

	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/mtasts"
	"github.com/mxseal/mxseal/policy"
)

// Config returns a configuration for policy.New that uses this internet's DNS,
// roots, dial function and clock. Each call returns a new resolver with an
// empty cache, so two configurations are those of two independent senders.
func (inet *Internet) Config() policy.Config {
	return policy.Config{
		DNS:             inet.DNS(),
		RootCAs:         inet.RootCAs(),
		Dial:            inet.Dial,
		AllowPolicyHost: inet.Contains,
		Now:             inet.Now,
	}
}

// Resolver returns a new policy.Resolver with the configuration of Config, which the
// functions change first. Close closes it. Resolver panics if the configuration is
// not valid.
func (inet *Internet) Resolver(change ...func(*policy.Config)) *policy.Resolver {
	config := inet.Config()
	for _, apply := range change {
		apply(&config)
	}
	r, err := policy.New(config)
	if err != nil {
		panic("policytest: " + err.Error())
	}
	inet.mu.Lock()
	defer inet.mu.Unlock()
	inet.closers = append(inet.closers, r.Close)
	return r
}

// DNS returns a new validating resolver with an empty cache.
func (inet *Internet) DNS() *dnssec.Validator {
	v, err := dnssec.New(inet.DNSConfig())
	if err != nil {
		panic("policytest: " + err.Error()) // the configuration is fixed, so this is a bug
	}
	return v
}

// DNSConfig returns a configuration for dnssec.New that uses this internet's
// name server, trust anchors and clock.
func (inet *Internet) DNSConfig() dnssec.Config {
	return dnssec.Config{
		Servers: []string{inet.DNSAddr()},
		Anchors: inet.TrustAnchors(),
		Now:     inet.Now,
		Timeout: 3 * time.Second, // enough on the loopback interface of a busy machine
	}
}

// MTASTSConfig returns a configuration for mtasts.New that uses this internet.
// Each call returns a new resolver with an empty cache.
func (inet *Internet) MTASTSConfig() mtasts.Config {
	return mtasts.Config{
		Resolver:        inet.DNS(),
		RootCAs:         inet.RootCAs(),
		Dial:            inet.Dial,
		AllowPolicyHost: inet.Contains,
		Now:             inet.Now,
	}
}
