package relay

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mxseal/mxseal/internal/names"
	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/delivery"
)

// answerTime is how long before the timeout of the client a delivery is ended.
const answerTime = 10 * time.Second

// take delivers a message, and returns a reply for each recipient in their order.
func (r *Relay) take(e *envelope, text *body) []reply {
	message, requireTLS, wrong := text.message()
	e.requireTLS = e.requireTLS || requireTLS
	if wrong == nil && r.taking.Err() != nil {
		wrong = shuttingDown(451)
	}
	replies := make([]reply, len(e.mail.To))
	var results map[string]*reply
	if wrong == nil {
		results = r.deliver(e, message)
	}
	for i, to := range e.mail.To {
		replies[i] = *cmp.Or(wrong, results[to.Address])
	}
	return replies
}

// deliver delivers a message, and returns a reply for each address.
func (r *Relay) deliver(e *envelope, message []byte) map[string]*reply {
	ctx, cancel := context.WithTimeout(r.delivering, r.ClientTimeout-answerTime)
	defer cancel()
	e.mail.Message, e.mail.Size = bytes.NewReader(message), int64(len(message))
	var options []policy.Option
	if e.requireTLS {
		options = append(options, policy.RequireTLS())
	}
	result, err := r.Send(ctx, e.mail, options...)
	r.reportRelayed(ctx, e, result)
	return r.replies(e, result, err)
}

// replies returns a reply for each address, and logs it. The reply is temporary for a recipient that the result
// does not name.
func (r *Relay) replies(e *envelope, result delivery.Result, err error) map[string]*reply {
	replies := make(map[string]*reply, len(e.mail.To))
	log := r.Logger.With(e.origin.log()...)
	for _, d := range result.Delivered {
		answer := delivered(d)
		for _, to := range d.Recipients {
			replies[to] = answer
			log.Info("delivered", "to", to, "host", d.Host.Name, "level", d.Host.Level, "by", d.Host.By,
				"route_authenticated", d.Host.RouteAuthenticated, "tls", tlsOf(d), "reply", d.Reply.String())
		}
	}
	var failed *delivery.SendError
	if errors.As(err, &failed) {
		for _, u := range failed.Undelivered {
			answer := undelivered(u.Err)
			for _, to := range u.Recipients {
				replies[to] = answer
				log.Info("not delivered", "to", to, "code", answer.code, "outcome_unknown", u.OutcomeUnknown, "error", u.Err)
			}
		}
	}
	for _, to := range e.mail.To {
		if replies[to.Address] == nil {
			replies[to.Address] = say(451, 4, 3, 0, names.Printable(fmt.Sprint("the delivery has no result: ", err), maxReply))
			log.Error("a delivery has no result", "to", to.Address, "error", err)
		}
	}
	return replies
}
