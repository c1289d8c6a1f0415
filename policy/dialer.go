package policy

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"time"

	"github.com/mxseal/mxseal/tlsrpt"
)

// Dialer connects to the mail hosts of recipient domains, as their plans have
// it. All that it needs is a Resolver:
//
//	d := policy.Dialer{Resolver: r}
//	client, err := d.Dial(ctx, "example.org")
//
// Its methods do not change it and are safe for concurrent use.
type Dialer struct {
	// Resolver makes the plans. It is required.
	Resolver *Resolver

	// Recorder takes note of every session for TLS-RPT: one for each connection
	// on which TLS was, or should have been, asked for, and one for each host
	// that a policy refused. Errors of the network are not noted (RFC 8460
	// section 4.3.4). nil records nothing.
	Recorder tlsrpt.Recorder

	// LocalName is the name to say in EHLO; empty stands for os.Hostname, or
	// "localhost" where that is not a name. Mail hosts like it to be the name
	// that the sending address resolves to.
	LocalName string

	// ConnectTimeout bounds the connection to one address; 0 stands for 30
	// seconds.
	ConnectTimeout time.Duration
	// CommandTimeout bounds each step until Dial returns: the greeting, a
	// command with the whole of its reply, a handshake with the EHLO after it.
	// 0 stands for five minutes (RFC 5321 section 4.5.3.2.1).
	CommandTimeout time.Duration
	// IdleTimeout bounds each step of the Client: a command with the whole of
	// its reply, or a block of the message. 0 stands for ten minutes, the
	// longest that RFC 5321 section 4.5.3.2 has.
	IdleTimeout time.Duration
	// DomainTimeout bounds all that SendMail does for one domain, so that hosts
	// that stall do not keep other domains from their turn; 0 stands for half an
	// hour.
	DomainTimeout time.Duration
	// MaxConnections bounds the connections that one call makes for one
	// domain, a second one to the same address included; 0 stands for 16. Of
	// each host at most four addresses are tried.
	MaxConnections int

	// Delivered is told by SendMail of each host that accepted the message, and
	// for whom: what a mail log says of it. It is called concurrently for
	// several domains. nil tells nobody.
	Delivered func(Delivery)

	// Logger gets one line for each host that failed, and one for mail that
	// goes in clear because TLS failed. nil logs nothing.
	Logger *slog.Logger
}

const (
	defaultConnectTimeout = 30 * time.Second
	defaultCommandTimeout = 5 * time.Minute
	defaultIdleTimeout    = 10 * time.Minute
	defaultDomainTimeout  = 30 * time.Minute
	defaultMaxConnections = 16

	// addressesPerHost: RFC 5321 section 5.1 asks for two at least.
	addressesPerHost = 4
)

// Dial returns a Client in a session that meets the domain's plan: EHLO said,
// TLS verified where a policy or the operator demands it, and used in any case
// where the server offers it. The caller ends it with Quit or Close.
//
// The hosts of the plan are tried in order, each at its pinned addresses; a
// refused one gets no connection at all. What is wrong with one host, be it a
// certificate or a stall, never keeps the next one from its turn. Cleartext is
// used only with hosts of level Opportunistic: where STARTTLS is not offered or
// refused, and, over a new connection, after a handshake that failed.
//
// Before a domain is given up because of MTA-STS, the policy is looked up again,
// and the hosts of a changed one are tried (RFC 8461 section 5.1). A plan that
// requires TLS in the sense of RFC 8689 needs the extension REQUIRETLS as well,
// offered inside TLS.
//
// The error is an *Error for the domain, and holds an *Error for each host. It
// is permanent where the domain takes no mail, or where RequireTLS was asked for
// and no host that could be reached fulfils it; everything else can wait.
//
// ctx bounds Dial, and interrupts it at once. Without a deadline of its own, a
// domain whose hosts all stall takes as long as the timeouts of every step
// together. ctx does not bound the Client, whose steps have IdleTimeout. A
// Client is for one goroutine at a time.
func (d *Dialer) Dial(ctx context.Context, domain string, options ...Option) (*Client, error) {
	w, err := d.walk(ctx, domain, options)
	if err != nil {
		return nil, err
	}
	return w.next(ctx)
}

// walk resolves the domain for a walk along its hosts.
func (d *Dialer) walk(ctx context.Context, domain string, options []Option) (*walk, error) {
	if d.Resolver == nil {
		return nil, errors.New("policy: Dialer.Resolver is nil; it takes the Resolver that policy.New returns")
	}
	plan, err := d.Resolver.Resolve(ctx, domain, options...)
	if err != nil {
		return nil, err
	}
	w := &walk{dialer: d, options: options}
	w.follow(plan)
	return w, nil
}

func (d *Dialer) localName() string {
	if d.LocalName != "" {
		return d.LocalName
	}
	if name, err := os.Hostname(); err == nil && isHostName(name) {
		return name
	}
	return "localhost"
}

func (d *Dialer) log(ctx context.Context, level slog.Level, message string, attrs ...slog.Attr) {
	if d.Logger != nil {
		d.Logger.LogAttrs(ctx, level, message, attrs...)
	}
}

// positive returns d, or the default for one that is not positive.
func positive(d, otherwise time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return otherwise
}
