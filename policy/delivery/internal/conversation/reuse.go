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
// for, prove nothing. What was resumed from a ticket that proved less has to be proved
// first.
func (c *Conversation) Fits(kept *Conversation) bool {
	switch {
	case c.Mandatory && (!kept.InTLS || kept.Offer != CurrentTLS):
		return false
	case c.RequireTLS && !(kept.InTLS && kept.Hello.Extensions().Has("REQUIRETLS")):
		return false
	}
	return !kept.resumed || kept.Proven >= c.Host.Level
}

// TakeOver makes the session of a conversation that was kept that of this one, which has
// no connection yet. The plan of now has to be content with the session. Nothing of what
// was verified before counts. With reset, the server has to answer RSET as it should;
// otherwise the caller says RSET before MAIL, as ResetDue tells. If TakeOver reports
// false, the session is closed, and nothing was sent of any mail.
func (c *Conversation) TakeOver(ctx context.Context, kept *Conversation, reset bool) bool {
	c.Offer = kept.Offer
	if !kept.Conn.Quiet() {
		kept.Conn.Abort()
		return false
	}
	if !c.Fits(kept) || !c.contentWith(kept) {
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

// IsReset reports whether a reply is one to RSET: nothing else than success.
func IsReset(reply wire.Reply) bool { return reply.Class() == 2 && !reply.Mixed }

// contentWith verifies a session as the plan of now demands, and compares the
// configuration of TLS with the one that it was made with.
func (c *Conversation) contentWith(kept *Conversation) bool {
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
