package delivery

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/mxseal/mxseal/policy"
	content "github.com/mxseal/mxseal/policy/delivery/internal/message"
)

// domainsAtOnce bounds the domains that one message goes to side by side.
const domainsAtOnce = 8

// SendMail sends a message as Dialer.SendMail does with a Dialer that has only a
// Resolver. It records no sessions.
func SendMail(ctx context.Context, r *policy.Resolver, from string, to []string, msg []byte, options ...policy.Option) error {
	d := Dialer{Resolver: r}
	return d.SendMail(ctx, from, to, msg, options...)
}

// SendMail sends a message to the mail hosts of its recipients, like smtp.SendMail.
// from is the return path, empty or "<>" for a bounce. to are addresses of any
// number of domains. msg is a message of RFC 5322 with its header; its lines end
// in CRLF or LF. A domain in U-labels is sent in A-labels. A local part that is
// not ASCII needs a server with SMTPUTF8.
//
// The message is sent once for each domain, to several domains concurrently, each
// by its own plan as described for Dial. A message whose header has the field
// "TLS-Required: No" is sent with the option TLSOptional (RFC 8689 section 3);
// RequireTLS overrides it.
//
// Recipients that a server refuses for now, by a 4yz reply or by the end of the
// connection before the message, go to the next host (RFC 5321 section 5.1). A 5yz
// reply is the domain's answer, except where TLS failed before and the session is
// in cleartext. Once the octets of the message have begun, no other host is tried.
//
// The error is nil if every recipient was accepted, and otherwise a *SendError that
// names the others. SendMail keeps no queue: the caller sends the message again
// later to those recipients whose error is Temporary, and to no others.
func (d *Dialer) SendMail(ctx context.Context, from string, to []string, msg []byte, options ...policy.Option) error {
	message, failure := newMessage(from, msg, options)
	if failure != nil {
		return &SendError{Undelivered: []Undelivered{{Recipients: slices.Clone(to), Err: failure}}}
	}
	groups, undelivered := byDomain(to)
	results := make([][]Undelivered, len(groups))
	var deliveries errgroup.Group
	deliveries.SetLimit(domainsAtOnce)
	for i, g := range groups {
		deliveries.Go(func() error {
			results[i] = d.deliver(ctx, message, g)
			return nil
		})
	}
	deliveries.Wait()
	if undelivered = append(undelivered, slices.Concat(results...)...); len(undelivered) > 0 {
		return &SendError{Undelivered: undelivered}
	}
	return nil
}

// Delivery is a message that a mail host has accepted.
type Delivery struct {
	// Recipients are addresses as given to SendMail, all of one domain.
	Recipients []string
	// Host is the mail host, with the level that its session met. A log must not
	// call the delivery secure unless Host.RouteAuthenticated is true (RFC 7672
	// section 2.2.1).
	Host *policy.Host
	// Plan is the plan that the host is in.
	Plan *policy.Plan
	// TLS is the state of the TLS session; nil for a session in cleartext.
	TLS *tls.ConnectionState
	// Reply is the server's reply to the message, which usually has its queue ID:
	// reply code and text in one line. The text is the server's; escape it before
	// you print it.
	Reply string
}

// SendError says which recipients of a message did not get it, and why. All other
// recipients got it.
type SendError struct {
	// Undelivered has an element for each failure: of a domain as a whole, or of
	// a recipient that a server refused.
	Undelivered []Undelivered
}

// Undelivered are recipients that did not get a message, for one reason.
type Undelivered struct {
	// Recipients are addresses as given to SendMail.
	Recipients []string
	// Err is the reason. Its Domain is the recipients' domain, and empty when
	// the message did not go out at all.
	Err *policy.Error
	// OutcomeUnknown is true if the session ended after the message and before
	// the server's reply to it. The server may have it, so that the recipients may
	// get it twice if it is sent again (RFC 5321 section 4.5.3.2.6).
	OutcomeUnknown bool
}

// Error names every reason in one line.
func (e *SendError) Error() string {
	texts := make([]string, len(e.Undelivered))
	count := 0
	for i, each := range e.Undelivered {
		texts[i] = strings.TrimPrefix(each.Err.Error(), "policy: ")
		count += len(each.Recipients)
	}
	return fmt.Sprintf("delivery: not delivered to %d: %s", count, strings.Join(texts, "; "))
}

// Unwrap returns the reasons, each a *policy.Error.
func (e *SendError) Unwrap() []error {
	errs := make([]error, len(e.Undelivered))
	for i, each := range e.Undelivered {
		errs[i] = each.Err
	}
	return errs
}

// Temporary reports whether another attempt can help any recipient.
func (e *SendError) Temporary() bool {
	return slices.ContainsFunc(e.Undelivered, func(u Undelivered) bool { return u.Err.Temporary() })
}

// message is what is sent to every domain. It is shared and read-only.
type message struct {
	from          string // the return path, empty for a bounce
	international bool
	text          []byte
	options       []policy.Option
}

func newMessage(from string, text []byte, options []policy.Option) (*message, *policy.Error) {
	m := &message{text: text, options: options}
	if from != "" && from != "<>" {
		box, err := parseMailbox(from)
		if err != nil {
			return nil, badReturnPath(from, err)
		}
		m.from, m.international = box.path, box.international
	}
	properties, err := content.Scan(bytes.NewReader(text), int64(len(text)))
	if err != nil {
		return nil, bareCR()
	}
	if properties.TLSOptional {
		m.options = append(slices.Clone(options), policy.TLSOptional())
	}
	return m, nil
}

// reader returns the text from its beginning.
func (m *message) reader() io.Reader { return bytes.NewReader(m.text) }

// deliver sends the message to one domain: host after host, to the recipients that
// no host has taken or refused.
func (d *Dialer) deliver(ctx context.Context, m *message, g group) []Undelivered {
	within, cancel := context.WithTimeout(ctx, cmp.Or(max(d.DomainTimeout, 0), defaultDomainTimeout))
	defer cancel()
	w, err := d.walk(within, g.domain, m.options)
	if err != nil {
		return undelivered(g.to, asError(g.domain, err))
	}
	w.bounce = m.from == ""
	var missed []Undelivered
	for len(g.to) > 0 {
		talk, err := w.next(within)
		if err != nil {
			return append(missed, exhausted(g.to, asError(g.domain, err))...)
		}
		// The steps of a transaction have timeouts of their own. One that waits
		// for the reply to the message is not cut short: the server may have it.
		got := m.send(ctx, newSession(talk, w.plan, d.IdleTimeout), g.to)
		missed = append(missed, got.undelivered...)
		if d.Delivered != nil {
			for _, delivery := range got.delivered {
				d.Delivered(delivery)
			}
		}
		g.to = got.next
		if got.reason != nil {
			w.fail(ctx, talk.host, got.reason)
		}
	}
	return missed
}

// send sends the message over one session, in as many transactions as it takes.
func (m *message) send(ctx context.Context, s *session, to []mailbox) results {
	stop := s.conn.Interruptible(ctx)
	defer stop()
	defer s.end()
	var all results
	for len(to) > 0 {
		if s.over {
			all.next = append(all.next, to...)
			all.reason = cmp.Or(all.reason, s.ended())
			return all
		}
		some := to[:min(len(to), maxRecipients)]
		t := transaction{session: s, ctx: ctx, message: m}
		t.run(some)
		all.delivered = append(all.delivered, t.results.delivered...)
		all.undelivered = append(all.undelivered, t.results.undelivered...)
		all.next = append(all.next, t.results.next...)
		all.reason = cmp.Or(t.results.reason, all.reason)
		to = slices.Concat(t.results.again, to[len(some):])
	}
	return all
}

// undelivered is one failure for some recipients.
func undelivered(to []mailbox, failure *policy.Error) []Undelivered {
	return []Undelivered{{Recipients: asGiven(to), Err: failure}}
}

// exhausted returns the failures of recipients for whom no host is left: what the
// last host said of each, or else the failure of the domain.
func exhausted(to []mailbox, failure *policy.Error) []Undelivered {
	var all []Undelivered
	places := make(map[*policy.Error]int)
	for _, box := range to {
		reason := cmp.Or(box.refused, failure)
		place, found := places[reason]
		if !found {
			place = len(all)
			places[reason] = place
			all = append(all, Undelivered{Err: reason})
		}
		all[place].Recipients = append(all[place].Recipients, box.given)
	}
	return all
}

func asGiven(boxes []mailbox) []string {
	given := make([]string, len(boxes))
	for i, box := range boxes {
		given[i] = box.given
	}
	return given
}
