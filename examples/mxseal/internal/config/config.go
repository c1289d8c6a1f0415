// Package config reads the configuration file of "mxseal serve", mxseal.conf(5).
package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/BurntSushi/toml"

	"github.com/mxseal/mxseal/dane"
	"github.com/mxseal/mxseal/internal/names"
	"github.com/mxseal/mxseal/policy"
)

// Config is the file. The zero value validates DNSSEC itself, keeps everything in memory, and listens
// nowhere.
type Config struct {
	// Name is the name of this host, for EHLO and to find loops. Empty means the host name of the system.
	Name      string            `toml:"name"`
	DNS       DNS               `toml:"dns"`
	Store     Store             `toml:"store"`
	Policy    Policy            `toml:"policy"`
	Domains   map[string]Domain `toml:"domain"`
	Hosts     map[string]Host   `toml:"host"`
	Socketmap Socketmap         `toml:"socketmap"`
	Collector Collector         `toml:"tlsrpt-collector"`
	Reports   Reports           `toml:"tlsrpt-reports"`
	Relay     Relay             `toml:"relay"`
	HTTP      HTTP              `toml:"http"`
}

// DNS is how names are looked up. The servers need not be trusted.
type DNS struct {
	Servers    []string `toml:"servers"`
	AnchorFile string   `toml:"anchor-file"`
}

// Store is where policies and sums for reports survive a restart. At most one field may be set. The zero
// value means that they are lost.
type Store struct {
	File   string `toml:"file"`
	Valkey string `toml:"valkey-url-file"` // a file, because the URL has a password
}

// Policy is what the operator demands of every session.
type Policy struct {
	Floor               Level `toml:"floor"`
	RequireDANE         bool  `toml:"require-dane"`
	RequireRoute        bool  `toml:"require-route"`
	RequireBoth         bool  `toml:"require-both"`
	NoDANE              bool  `toml:"no-dane"`
	NoMTASTS            bool  `toml:"no-mta-sts"`
	NoDANEForInsecureMX bool  `toml:"no-dane-for-insecure-mx"`
	MaxPlans            int   `toml:"max-plans"`
}

// Domain is what the operator demands for one recipient domain.
type Domain struct {
	NextHop      string        `toml:"next-hop"`
	Floor        Level         `toml:"floor"`
	RequireDANE  bool          `toml:"require-dane"`
	RequireRoute bool          `toml:"require-route"`
	NoDANE       bool          `toml:"no-dane"`
	NoMTASTS     bool          `toml:"no-mta-sts"`
	Pin          []dane.Record `toml:"pin"`
}

// Host is what the operator demands of one mail host.
type Host struct {
	Floor  Level         `toml:"floor"`
	NoDANE bool          `toml:"no-dane"`
	Pin    []dane.Record `toml:"pin"`
}

// Socketmap is the map of TLS policies for Postfix, sendmail and Exim.
type Socketmap struct {
	Listen          []Address `toml:"listen"`
	Fingerprints    bool      `toml:"fingerprints"`
	DeferInsecureMX bool      `toml:"defer-insecure-mx"`
	TestingReports  bool      `toml:"testing-reports"`
	NextHops        bool      `toml:"next-hops"`
	AnyMap          bool      `toml:"any-map-name"`
}

// Collector receives the sessions of Postfix 3.10 and later.
type Collector struct {
	Listen []Address `toml:"listen"`
}

// Reports are the TLS reports that are sent. There are none without a contact.
type Reports struct {
	Contact      string `toml:"contact"`
	Organization string `toml:"organization"`
	Instance     string `toml:"instance"`
	DKIMKey      string `toml:"dkim-key-file"`
	DKIMSelector string `toml:"dkim-selector"`
}

// Relay takes mail over LMTP and SMTP, and delivers it. The transport map gives each domain a next hop of its
// own: a link in the directory to the socket, which is the LMTP socket of the relay.
type Relay struct {
	LMTP      []Address `toml:"lmtp"`
	SMTP      []Address `toml:"smtp"`
	MaxSize   int64     `toml:"max-size"`
	Transport []Address `toml:"transport"`
	Links     string    `toml:"links"`
	Socket    string    `toml:"socket"`
	// QueueDirectory is that of Postfix, the root directory of its lmtp(8).
	QueueDirectory string   `toml:"queue-directory"`
	LocalDomains   []string `toml:"local-domains"`
	// ClientTimeout is how long clients wait for the reply to a message.
	ClientTimeout time.Duration `toml:"client-timeout"`
	// MaxUses bounds the messages over one session with a mail host, as delivery.Pool.MaxUses does.
	MaxUses     int  `toml:"max-uses"`
	Convert8Bit bool `toml:"convert-8bit"`
	STARTTLS    bool `toml:"starttls"`
	// Submit is where the mail server takes mail, for reports that mail was relayed.
	Submit Address `toml:"submit"`
}

// DefaultClientTimeout is the default of Relay.ClientTimeout, and LeastClientTimeout its minimum: a mail host
// may take ten minutes for its reply to a message (RFC 5321 section 4.5.3.2.6), and the relay needs time
// before and after that.
const (
	DefaultClientTimeout = 20 * time.Minute
	LeastClientTimeout   = 12 * time.Minute
)

// DefaultMaxSize is the default of Relay.MaxSize, in octets.
const DefaultMaxSize = 25 << 20

// HTTP is the server for people and monitors. Browsers may reach it under Names, besides localhost and IP
// addresses.
type HTTP struct {
	Listen []Address `toml:"listen"`
	Names  []string  `toml:"names"`
}

// Level is a policy.Level in the file. The zero value means that the file does not set it: Refused is not a
// level that one can write.
type Level policy.Level

// UnmarshalText reads the name of a level.
func (l *Level) UnmarshalText(text []byte) error {
	for _, level := range []policy.Level{policy.Opportunistic, policy.Encrypted, policy.Authenticated} {
		if level.String() == string(text) {
			*l = Level(level)
			return nil
		}
	}
	return fmt.Errorf("%q is no level; use opportunistic, encrypted or authenticated", text)
}

// maxFile bounds the file in octets.
const maxFile = 16 << 20

// Read reads a file. An error names the key that is wrong.
func Read(file string) (*Config, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("%s has more than %d octets", file, maxFile)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	c, err := Parse(string(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return c, nil
}

// Parse reads the text of a file.
func Parse(text string) (*Config, error) {
	var c Config
	found, err := toml.Decode(text, &c)
	if err != nil {
		return nil, err
	}
	var unknown []string
	for _, key := range found.Undecoded() {
		unknown = append(unknown, key.String())
	}
	if unknown != nil {
		slices.Sort(unknown)
		return nil, fmt.Errorf("unknown keys: %s; mxseal.conf(5) lists all keys", strings.Join(unknown, ", "))
	}
	if err := c.complete(); err != nil {
		return nil, err
	}
	return &c, nil
}

// complete sets the defaults that depend on other settings, and checks what can be checked without DNS and
// other files.
func (c *Config) complete() (err error) {
	domains := make(map[string]Domain, len(c.Domains))
	for name, domain := range c.Domains {
		canonical, err := names.Canonical(name)
		if err != nil {
			return fmt.Errorf("domain.%q: %w", name, err)
		}
		if _, twice := domains[canonical]; twice {
			return fmt.Errorf("domain.%q is set twice; keep one of them", name)
		}
		domains[canonical] = domain
	}
	c.Domains = domains
	if c.Name == "" {
		if c.Name, err = os.Hostname(); err != nil {
			return fmt.Errorf("name is not set, and the system has none: %w", err)
		}
	}
	r := &c.Reports
	switch {
	case c.Store.File != "" && c.Store.Valkey != "":
		return errors.New("store.file and store.valkey-url-file exclude each other")
	case r.Contact == "" && *r != Reports{}:
		return errors.New("tlsrpt-reports needs a contact, the mail address of those who are responsible")
	case r.Contact == "" && c.Collector.Listen != nil:
		return errors.New("tlsrpt-collector needs tlsrpt-reports.contact: otherwise nothing is reported")
	case r.DKIMKey == "" && r.DKIMSelector != "":
		return errors.New("tlsrpt-reports.dkim-selector needs dkim-key-file")
	}
	if err := c.Relay.complete(); err != nil {
		return err
	}
	if r.DKIMKey != "" && r.DKIMSelector == "" {
		r.DKIMSelector = "tlsrpt"
	}
	if r.Contact != "" && r.Organization == "" {
		r.Organization = r.Contact[strings.LastIndexByte(r.Contact, '@')+1:]
	}
	return nil
}

// complete sets the defaults, with the directories of a Debian system, and checks the other settings.
func (r *Relay) complete() error {
	if r.MaxSize < 0 {
		return errors.New("relay.max-size is negative")
	}
	if r.MaxUses < 0 {
		return errors.New("relay.max-uses is negative")
	}
	if r.MaxSize == 0 {
		r.MaxSize = DefaultMaxSize
	}
	if r.ClientTimeout == 0 {
		r.ClientTimeout = DefaultClientTimeout
	}
	if r.ClientTimeout < LeastClientTimeout {
		return fmt.Errorf("relay.client-timeout is %v, and at least %v are needed: a mail host may take ten minutes for its reply to a message", r.ClientTimeout, LeastClientTimeout)
	}
	if r.Submit.Kind == "systemd" {
		return errors.New("relay.submit begins with inet: or unix:, since mxseal connects to it")
	}
	if r.Transport == nil {
		return nil
	}
	if r.QueueDirectory == "" {
		r.QueueDirectory = "/var/spool/postfix"
	}
	if r.Links == "" {
		r.Links = filepath.Join(r.QueueDirectory, "mxseal", "d")
	}
	for _, a := range r.LMTP {
		if r.Socket == "" && a.Kind == "unix" {
			r.Socket = a.Where
		}
	}
	if r.Socket == "" {
		return errors.New("relay.transport needs relay.socket, the path of the LMTP socket")
	}
	for i, name := range r.LocalDomains {
		canonical, err := names.Canonical(name)
		if err != nil {
			return fmt.Errorf("relay.local-domains: %q: %w", name, err)
		}
		r.LocalDomains[i] = canonical
	}
	return nil
}

// Override returns the settings of a domain, given in A-labels and lower case.
func (c *Config) Override(domain string) (policy.Override, bool) {
	d, found := c.Domains[domain]
	return policy.Override{
		NextHop: d.NextHop, Floor: policy.Level(d.Floor), RequireDANE: d.RequireDANE, RequireRoute: d.RequireRoute,
		NoDANE: d.NoDANE, NoMTASTS: d.NoMTASTS, Pin: d.Pin,
	}, found
}

// Overrides returns the settings of all domains.
func (c *Config) Overrides() map[string]policy.Override {
	all := make(map[string]policy.Override, len(c.Domains))
	for name := range c.Domains {
		all[name], _ = c.Override(name)
	}
	return all
}

// Demand sets in a policy.Config what the operator demands of all domains and of hosts.
func (c *Config) Demand(p *policy.Config) {
	p.Self = []string{c.Name}
	p.Floor = policy.Level(c.Policy.Floor)
	p.RequireDANE, p.RequireRoute = c.Policy.RequireDANE, c.Policy.RequireRoute
	p.NoDANE, p.NoMTASTS, p.NoDANEForInsecureMX = c.Policy.NoDANE, c.Policy.NoMTASTS, c.Policy.NoDANEForInsecureMX
	p.MaxPlans = c.Policy.MaxPlans
	if c.Policy.RequireBoth {
		p.Precedence = policy.RequireBoth
	}
	p.HostOverrides = make(map[string]policy.HostOverride, len(c.Hosts))
	for name, h := range c.Hosts {
		p.HostOverrides[name] = policy.HostOverride{Floor: policy.Level(h.Floor), NoDANE: h.NoDANE, Pin: h.Pin}
	}
}
