package conversation

import (
	"context"
	"crypto/tls"
	"time"

	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/delivery/internal/wire"
)

// ResetTimeout bounds RSET in a session that was kept. A server that takes longer has
// stalled, and a new connection is made instead.
const ResetTimeout = 10 * time.Second

// Fits reports whether the session of a conversation that was kept may serve this one,
// before anything is verified. Cleartext, and TLS with less than the first attempt asked
// for, prove nothing. A session that was resumed from a ticket which proved less does
// not fit.
func (c *Conversation) Fits(kept *Conversation) bool {
	switch {
	case c.Mandatory && (!kept.InTLS || kept.Offer != CurrentTLS):
		return false
	case c.RequireTLS && !(kept.InTLS && kept.Hello.Extensions().Has("REQUIRETLS")):
		return false
	}
	return !kept.resumed || kept.Proven >= c.Host.Level
}

// TakeOver gives this conversation, which has no connection yet, the session of one that
// was kept. The current plan has to accept the session. Nothing of what was verified
// before counts. With reset, the server has to answer RSET as it should; otherwise the
// caller says RSET before MAIL, as ResetDue tells. If TakeOver reports false, the
// session is closed, and nothing was sent of any mail.
func (c *Conversation) TakeOver(ctx context.Context, kept *Conversation, reset bool) bool {
	c.Offer = kept.Offer
	if !kept.Conn.Quiet() {
		kept.Conn.Abort()
		return false
	}
	if !c.Fits(kept) || !c.accepts(kept) {
		kept.Conn.Quit(0)
		return false
	}
	if reset {
		stop := kept.Conn.Interruptible(ctx)
		reply, err := kept.Conn.Command(min(c.Timeouts.Command, ResetTimeout), "RSET")
		if stop() != nil || err != nil || !IsReset(reply) || !kept.Conn.Quiet() {
			kept.Conn.Abort()
			return false
		}
	}
	c.Conn, c.LocalName, c.Hello, c.Uses, c.Reused, c.ResetDue = kept.Conn, kept.LocalName, kept.Hello, kept.Uses, true, !reset
	c.InTLS, c.FellBack, c.Proven, c.resumed, c.custom = kept.InTLS, kept.FellBack, kept.Proven, kept.resumed, kept.custom
	c.At, c.Last = StepEHLOInTLS, Ruling{Action: Proceed, Verdict: Pending, Alive: true}
	return true
}

// IsReset reports whether a reply answers RSET, which only success does.
func IsReset(reply wire.Reply) bool { return reply.Class() == 2 && !reply.Mixed }

// accepts verifies a kept session as the current plan demands, and compares the
// configuration of TLS with the one that the session was made with.
func (c *Conversation) accepts(kept *Conversation) bool {
	if !kept.InTLS {
		return c.Host.Level == policy.Opportunistic
	}
	state, _ := kept.Conn.TLS()
	var now custom
	if c.Customize != nil {
		var config *tls.Config
		if config, now = c.tlsConfig(); state.Version < config.MinVersion {
			return false
		}
	}
	return kept.custom.equals(now) && c.Host.Verify(state) == nil
}
