package delivery

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/textproto"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/mxseal/mxseal/policy"
)

const (
	// domainsAtOnce bounds the domains that one message goes to side by side.
	domainsAtOnce = 8
	// maxRecipients is what every server takes in one transaction (RFC 5321
	// section 4.5.3.1.8); more make another one.
	maxRecipients = 100
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
// in CRLF or LF. A domain in U-labels is sent in A-labels. A local part that is
// not ASCII needs a server with SMTPUTF8.
//
// The message is sent once for each domain, to several domains concurrently, each
// by its own plan as described for Dial. A message whose header has the field
// "TLS-Required: No" is sent with the option TLSOptional (RFC 8689 section 3);
// RequireTLS overrides it.
//
// If the connection is lost or the server replies 421 before the message, the next
// host is tried. Every other refusal is the domain's answer.
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
	if hasBareCR(text) {
		return nil, bareCR()
	}
	if saysTLSOptional(text) {
		m.options = append(slices.Clone(options), policy.TLSOptional())
	}
	return m, nil
}

// deliver sends the message to one domain: to the first host that takes it.
func (d *Dialer) deliver(ctx context.Context, m *message, g group) []Undelivered {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(max(d.DomainTimeout, 0), defaultDomainTimeout))
	defer cancel()
	w, err := d.walk(ctx, g.domain, m.options)
	if err != nil {
		return undelivered(g.to, asError(g.domain, err))
	}
	w.bounce = m.from == ""
	var missed []Undelivered
	for len(g.to) > 0 {
		client, err := w.next(ctx)
		if err != nil {
			return append(missed, undelivered(g.to, asError(g.domain, err))...)
		}
		refused, rest, failure := m.send(ctx, client, g.to, d.Delivered)
		missed = append(missed, refused...)
		g.to = rest
		if failure != nil {
			w.fail(ctx, client.Host, failure)
		}
	}
	return missed
}

// send sends the message over one session. It returns who was refused, and who
// is to be tried at another host, since this one failed.
func (m *message) send(ctx context.Context, client *Client, to []mailbox, delivered func(Delivery)) (refused []Undelivered, rest []mailbox, failure *policy.Error) {
	stop := client.conn.interruptible(ctx)
	defer stop()
	for len(to) > 0 {
		some := to[:min(len(to), maxRecipients)]
		t := transaction{ctx: ctx, client: client, message: m}
		if failure := t.run(some); failure != nil {
			client.abort()
			return refused, to, failure
		}
		refused = append(refused, t.undelivered...)
		to = to[len(some):]
		if len(t.delivered) > 0 && delivered != nil {
			delivered(client.delivery(t.delivered))
		}
		if t.broken {
			client.abort()
			return refused, to, t.undelivered[len(t.undelivered)-1].Err
		}
	}
	client.leave()
	return refused, nil, nil
}

// transaction is one mail transaction (RFC 5321 section 3.3).
type transaction struct {
	ctx     context.Context
	client  *Client
	message *message

	accepted    []mailbox // by RCPT
	delivered   []mailbox // those of a message that was taken
	undelivered []Undelivered
	// broken means that the connection is of no use any more.
	broken bool
}

// run returns nil when the server has answered for every recipient, and
// otherwise why another host should be asked.
func (t *transaction) run(to []mailbox) *policy.Error {
	if failure := t.mail(to); failure != nil || len(t.undelivered) > 0 {
		return failure
	}
	if failure := t.recipients(to); failure != nil {
		return failure
	}
	if len(t.accepted) == 0 {
		t.client.Reset() // a failure shows in the next command
		return nil
	}
	return t.data()
}

func (t *transaction) mail(to []mailbox) *policy.Error {
	if t.message.international && !t.takesUTF8() {
		t.refuse(to, lacksUTF8(t.client))
		return nil
	}
	err := t.client.Mail(t.message.from)
	var own *policy.Error
	switch {
	case err == nil:
	case errors.As(err, &own):
		t.refuse(to, own)
	case gone(err):
		return t.failed("MAIL failed", err)
	default:
		t.refuse(to, t.failed("the server refuses MAIL", err))
	}
	return nil
}

func (t *transaction) recipients(to []mailbox) *policy.Error {
	for _, box := range to {
		if box.international && !t.takesUTF8() {
			t.refuse([]mailbox{box}, lacksUTF8(t.client))
			continue
		}
		switch err := t.client.Rcpt(box.path); {
		case err == nil:
			t.accepted = append(t.accepted, box)
		case gone(err):
			return t.failed("RCPT failed", err)
		default:
			t.refuse([]mailbox{box}, t.failed("the server refuses the recipient "+box.given, err))
		}
	}
	return nil
}

// data hands over the message. From the server's leave to send it on, another
// host is not asked: it could get a second copy.
func (t *transaction) data() *policy.Error {
	w, err := t.client.Data()
	switch {
	case err == nil:
	case gone(err):
		return t.failed("DATA failed", err)
	default:
		t.refuse(t.accepted, t.failed("the server refuses DATA", err))
		t.client.Reset()
		return nil
	}
	if _, err := w.Write(t.message.text); err != nil {
		// Not closed: that would end a part of the message as though it were
		// the whole.
		t.broken = true
		t.refuse(t.accepted, t.failed("the connection was lost in the message", err))
		return nil
	}
	if err := w.Close(); err != nil {
		t.broken = gone(err)
		t.refuse(t.accepted, t.failed("the server does not accept the message", err))
		return nil
	}
	t.delivered = t.accepted
	return nil
}

func (t *transaction) refuse(to []mailbox, failure *policy.Error) {
	t.undelivered = append(t.undelivered, undelivered(to, failure)...)
}

// failed is the failure of a command, or the end of the context where that is
// what interrupted it.
func (t *transaction) failed(detail string, err error) *policy.Error {
	var reply *textproto.Error
	if ended := t.ctx.Err(); ended != nil && !errors.As(err, &reply) {
		err = ended
	}
	return t.client.Host.Replied(detail, err)
}

func (t *transaction) takesUTF8() bool {
	offered, _ := t.client.Extension("SMTPUTF8")
	return offered
}

// undelivered is one failure for some recipients.
func undelivered(to []mailbox, failure *policy.Error) []Undelivered {
	return []Undelivered{{Recipients: asGiven(to), Err: failure}}
}

// delivery is what the server of the session has accepted.
func (c *Client) delivery(to []mailbox) Delivery {
	d := Delivery{Recipients: asGiven(to), Host: c.Host, Plan: c.Plan}
	if state, ok := c.TLS(); ok {
		d.TLS = &state
	}
	return d
}

func asGiven(boxes []mailbox) []string {
	given := make([]string, len(boxes))
	for i, box := range boxes {
		given[i] = box.given
	}
	return given
}
