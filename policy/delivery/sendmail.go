package delivery

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"sync"

	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/delivery/internal/limits"
)

// SendMail sends a message as Dialer.SendMail does with a Dialer that has only a
// Resolver. It records no sessions.
func SendMail(ctx context.Context, r *policy.Resolver, from string, to []string, msg []byte, options ...policy.Option) error {
	d := Dialer{Resolver: r}
	return d.SendMail(ctx, from, to, msg, options...)
}

// SendMail sends a message to the mail hosts of its recipients, like smtp.SendMail.
// from is the return path, empty or "<>" for a bounce. to are addresses of any
// number of domains. msg is a message of RFC 5322 with its header; its lines end
// in CRLF or LF. It is Send for messages in memory that need nothing else; the
// error is that of Send.
func (d *Dialer) SendMail(ctx context.Context, from string, to []string, msg []byte, options ...policy.Option) error {
	_, err := d.Send(ctx, newMail(from, to, msg), options...)
	return err
}

// newMail returns a message in memory.
func newMail(from string, to []string, msg []byte) Mail {
	mail := Mail{From: from, Message: bytes.NewReader(msg), Size: int64(len(msg))}
	for _, address := range to {
		mail.To = append(mail.To, Recipient{Address: address})
	}
	return mail
}

// Send sends a message to the mail hosts of its recipients. A domain in U-labels is
// sent in A-labels. A local part that is not ASCII needs a server with SMTPUTF8.
//
// The message is sent once for each domain, to several domains concurrently, each
// by its own plan as described for Dial. A message whose header has the field
// "TLS-Required: No" is sent with the option TLSOptional (RFC 8689 section 3);
// RequireTLS overrides it. An empty return path implies the option Bounce.
//
// Recipients that a server refuses for now, by a 4yz reply or by the end of the
// connection before the message, go to the next host (RFC 5321 section 5.1). A 5yz
// reply is the domain's answer, except where TLS failed before and the session is
// in cleartext. Once the octets of the message have begun, no other host is tried.
//
// A message with 8-bit text needs 8BITMIME or Convert8Bit, and one with addresses or
// headers that are not ASCII needs SMTPUTF8. A server that lacks what a message needs
// gets none of it, and the next host is tried. If every host lacks it, the failure is
// permanent: 5.6.3 or 5.6.7. A message that is larger than a server accepts
// (RFC 1870) fails permanently with 5.3.4, as after that server's own reply.
//
// The Result says how the message reached those who got it. The error is nil if every
// recipient was accepted, ErrNoRecipients if there are none, and otherwise a
// *SendError that names the others. Send keeps no queue: the caller sends the
// message again later to those recipients whose error is Temporary, and to no
// others.
func (d *Dialer) Send(ctx context.Context, mail Mail, options ...policy.Option) (Result, error) {
	return d.send(ctx, d.walk, mail, options)
}

// walker begins a walk along the hosts of a domain: of a Dialer or of a Pool.
type walker func(ctx context.Context, domain string, options []policy.Option) (*walk, error)

// send sends a message along the hosts of each domain.
func (d *Dialer) send(ctx context.Context, along walker, mail Mail, options []policy.Option) (Result, error) {
	if len(mail.To) == 0 {
		return Result{}, ErrNoRecipients
	}
	m, failure := newMessage(&mail, options)
	if failure != nil {
		all := Undelivered{Err: failure}
		for _, recipient := range mail.To {
			all.Recipients = append(all.Recipients, recipient.Address)
		}
		return Result{}, &SendError{Undelivered: []Undelivered{all}}
	}
	groups, undelivered := byDomain(mail.To)
	outcomes := make([]results, len(groups))
	turns := limits.NewTurns()
	var deliveries sync.WaitGroup
	for i, g := range groups {
		if len(groups) == 1 {
			outcomes[i] = d.deliver(ctx, along, m, g)
			break
		}
		done := turns.Take()
		deliveries.Go(func() {
			defer done()
			outcomes[i] = d.deliver(ctx, along, m, g)
		})
	}
	deliveries.Wait()
	var result Result
	for _, outcome := range outcomes {
		result.Delivered = append(result.Delivered, outcome.delivered...)
		undelivered = append(undelivered, outcome.undelivered...)
	}
	if len(undelivered) > 0 {
		return result, &SendError{Undelivered: undelivered}
	}
	return result, nil
}

// deliver sends the message to one domain: host after host, to the recipients that
// no host has taken or refused.
func (d *Dialer) deliver(ctx context.Context, along walker, m *message, g group) results {
	within, cancel := context.WithTimeout(ctx, cmp.Or(max(d.DomainTimeout, 0), defaultDomainTimeout))
	defer cancel()
	w, err := along(within, g.domain, m.options)
	if err != nil {
		return missed(g.to, asError(g.domain, err))
	}
	defer w.end()
	var all results
	for len(g.to) > 0 {
		talk, err := w.next(within)
		if err != nil {
			failure := refusalOf(asError(g.domain, err), w.failures)
			all.undelivered = append(all.undelivered, exhausted(g.to, failure, within.Err() == nil && !w.missed && w.recheck == nil)...)
			return all
		}
		s := newChannel(w, talk)
		got := m.send(ctx, within, s, g.to)
		if w.pool == nil || !s.clean() || !w.pool.keep(w, talk) {
			s.end()
		}
		w.release()
		all.undelivered = append(all.undelivered, got.undelivered...)
		all.delivered = append(all.delivered, got.delivered...)
		if d.Delivered != nil {
			for _, delivery := range got.delivered {
				d.Delivered(delivery)
			}
		}
		g.to = got.next
		switch {
		case got.stale:
			w.redial()
		case got.reason != nil:
			w.missed = w.missed || got.unanswered
			w.fail(ctx, talk.Host, got.reason)
		}
	}
	return all
}

// missed is one failure for all recipients of a domain.
func missed(to []mailbox, failure *policy.Error) results {
	reason := refusal{err: failure}
	return results{undelivered: []Undelivered{reason.undelivered(to)}}
}

// send sends the message over one session, in as many transactions as it takes.
// A share of within bounds each transaction until the message begins. From then on
// only ctx does: the server may have the message, and its reply says so.
func (m *message) send(ctx, within context.Context, s *channel, to []mailbox) results {
	var all results
	for len(to) > 0 {
		if s.over || all.stale {
			all.next, all.unanswered = append(all.next, to...), true
			all.reason = cmp.Or(all.reason, s.ended())
			return all
		}
		some := to[:min(len(to), maxRecipients)]
		t := transaction{channel: s, message: m}
		part, cancel := s.share(within)
		t.run(ctx, part, some)
		cancel()
		all.delivered = append(all.delivered, t.results.delivered...)
		all.undelivered = append(all.undelivered, t.results.undelivered...)
		all.next = append(all.next, t.results.next...)
		all.unanswered = all.unanswered || t.results.unanswered
		all.reason, all.stale = cmp.Or(t.results.reason, all.reason), t.results.stale
		to = slices.Concat(t.results.again, to[len(some):])
	}
	return all
}
