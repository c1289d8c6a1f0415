package relay

import (
	"bytes"
	"context"
	"errors"

	"github.com/mxseal/mxseal/policy/delivery"
)

// reportRelayed gives the mail server the report that is due to the sender: about recipients with
// NOTIFY=SUCCESS whose mail host does not offer DSN (RFC 3461 section 5.2.2). It does so before the client
// gets its reply. The client itself reports what is not delivered.
func (r *Relay) reportRelayed(ctx context.Context, e *envelope, result delivery.Result) {
	if r.Submit == nil {
		return
	}
	report := delivery.BounceReport{
		ReportingMTA: r.Name, Mail: e.mail, Relayed: result.Delivered, RequireTLS: e.requireTLS, Arrival: e.arrival,
	}
	var text bytes.Buffer
	if e.requireTLS {
		text.WriteString(requireTLSField + ": yes\r\n") // RFC 8689 section 5
	}
	_, err := report.WriteTo(&text)
	if errors.Is(err, delivery.ErrNoBounce) {
		return
	}
	if err == nil {
		within, cancel := context.WithTimeout(ctx, ownTime/2)
		defer cancel()
		err = r.Submit(within, e.mail.From, text.Bytes())
	}
	if err != nil {
		r.Logger.Error("the mail server did not take the report that a message was relayed", append(e.origin.log(), "sender", e.mail.From, "error", err)...)
	}
}
