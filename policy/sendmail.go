package policy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/textproto"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
)

const (
	// domainsAtOnce bounds the domains that one message goes to side by side.
	domainsAtOnce = 8
	// maxRecipients is what every server takes in one transaction (RFC 5321
	// section 4.5.3.1.8); more make another one.
	maxRecipients = 100
)

// SendMail sends a message by the plans of r, without reports. It is
// Dialer.SendMail of a Dialer that has nothing but r.
func SendMail(ctx context.Context, r *Resolver, from string, to []string, msg []byte, options ...Option) error {
	d := Dialer{Resolver: r}
	return d.SendMail(ctx, from, to, msg, options...)
}

// SendMail sends a message to the mail hosts of its recipients, in the manner of
// smtp.SendMail: from is the return path, empty or "<>" for a bounce; to are
// addresses of any number of domains; msg is a message of RFC 5322 with its
// header, whose lines end in CRLF or LF. A domain in U-labels goes out in
// A-labels; a local part beyond ASCII needs a server with SMTPUTF8.
//
// The message goes out once for each domain, to some domains at a time, each by
// its own plan and as Dial has it. A message whose header says "TLS-Required: No"
// goes out as with the option TLSOptional (RFC 8689 section 3), which RequireTLS
// overrides.
//
// When a server goes away or says 421 before it has been given the message, the
// next host gets its turn; every other refusal is the domain's answer.
//
// The error is nil when every recipient was accepted, and otherwise a *SendError,
// which says who was not. SendMail keeps no queue: what Temporary holds for is
// to be sent again later, to those recipients alone.
func (d *Dialer) SendMail(ctx context.Context, from string, to []string, msg []byte, options ...Option) error {
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

// Delivery is what a mail host has accepted.
type Delivery struct {
	// Recipients are addresses as given to SendMail, all of one domain.
	Recipients []string
	// Host is the mail host, with the level that its session met and what
	// decided it. Host.RouteAuthenticated tells whether the domain itself named
	// the host; a log must not call the delivery secure without it (RFC 7672
	// section 2.2.1).
	Host *Host
	// Plan is the plan that the host is in.
	Plan *Plan
	// TLS is the session, or nil for one in clear.
	TLS *tls.ConnectionState
}

// SendError says which recipients of a message did not get it, and why. Those
// that it does not name did.
type SendError struct {
	// Undelivered has an element for each failure: of a domain as a whole, or
	// of a recipient that its server refused.
	Undelivered []Undelivered
}

// Undelivered are recipients that did not get a message, for one reason.
type Undelivered struct {
	// Recipients are addresses as given to SendMail.
	Recipients []string
	// Err is the reason. Its Domain is the recipients' domain, and empty when
	// the message did not go out at all.
	Err *Error
}

// Error names every reason in one line.
func (e *SendError) Error() string {
	texts := make([]string, len(e.Undelivered))
	count := 0
	for i, each := range e.Undelivered {
		texts[i] = strings.TrimPrefix(each.Err.Error(), "policy: ")
		count += len(each.Recipients)
	}
	return fmt.Sprintf("policy: not delivered to %d: %s", count, strings.Join(texts, "; "))
}

// Unwrap returns the reasons, each an *Error.
func (e *SendError) Unwrap() []error {
	errs := make([]error, len(e.Undelivered))
	for i, each := range e.Undelivered {
		errs[i] = each.Err
	}
	return errs
}

// Temporary reports whether sending again can help any recipient.
func (e *SendError) Temporary() bool {
	return slices.ContainsFunc(e.Undelivered, func(u Undelivered) bool { return u.Err.Temporary() })
}

// message is what goes to every domain. It is shared and not changed.
type message struct {
	from          string // the return path, empty for a bounce
	international bool
	text          []byte
	options       []Option
}

func newMessage(from string, text []byte, options []Option) (*message, *Error) {
	m := &message{text: text, options: options}
	if from != "" && from != "<>" {
		box, err := parseMailbox(from)
		if err != nil {
			return nil, &Error{Permanent: true, SMTPCode: 553, Status: "5.1.7", Detail: "the return path " + printable(from) + " is no address", Err: err}
		}
		m.from, m.international = box.path, box.international
	}
	if hasBareCR(text) {
		return nil, &Error{Permanent: true, SMTPCode: 554, Status: "5.6.0", Detail: "the message has a CR without LF, which must not be sent"}
	}
	if saysTLSOptional(text) {
		m.options = append(slices.Clone(options), TLSOptional())
	}
	return m, nil
}

// deliver sends the message to one domain: to the first host that takes it.
func (d *Dialer) deliver(ctx context.Context, m *message, g group) []Undelivered {
	ctx, cancel := context.WithTimeout(ctx, positive(d.DomainTimeout, defaultDomainTimeout))
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
func (m *message) send(ctx context.Context, client *Client, to []mailbox, delivered func(Delivery)) (refused []Undelivered, rest []mailbox, failure *Error) {
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
func (t *transaction) run(to []mailbox) *Error {
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

func (t *transaction) mail(to []mailbox) *Error {
	if t.message.international && !t.takesUTF8() {
		t.refuse(to, t.lacksUTF8())
		return nil
	}
	err := t.client.Mail(t.message.from)
	var own *Error
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

func (t *transaction) recipients(to []mailbox) *Error {
	for _, box := range to {
		if box.international && !t.takesUTF8() {
			t.refuse([]mailbox{box}, t.lacksUTF8())
			continue
		}
		switch err := t.client.Rcpt(box.path); {
		case err == nil:
			t.accepted = append(t.accepted, box)
		case gone(err):
			return t.failed("RCPT failed", err)
		default:
			t.refuse([]mailbox{box}, t.failed("the server refuses the recipient "+printable(box.given), err))
		}
	}
	return nil
}

// data hands over the message. From the server's leave to send it on, another
// host is not asked: it could get a second copy.
func (t *transaction) data() *Error {
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

func (t *transaction) refuse(to []mailbox, failure *Error) {
	t.undelivered = append(t.undelivered, undelivered(to, failure)...)
}

// failed is the failure of a command, or the end of the context where that is
// what interrupted it.
func (t *transaction) failed(detail string, err error) *Error {
	var reply *textproto.Error
	if ended := t.ctx.Err(); ended != nil && !errors.As(err, &reply) {
		err = ended
	}
	return t.client.Host.replied(detail, err)
}

func (t *transaction) takesUTF8() bool {
	offered, _ := t.client.Extension("SMTPUTF8")
	return offered
}

// lacksUTF8 is RFC 6531 section 3.5 for a message that cannot be sent on.
func (t *transaction) lacksUTF8() *Error {
	e := t.client.Host.failure("", "", "5.6.7", "an address is not ASCII, and the server does not support SMTPUTF8", nil)
	e.Permanent, e.SMTPCode = true, 553
	return e
}

// undelivered is one failure for some recipients.
func undelivered(to []mailbox, failure *Error) []Undelivered {
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

// asError is err as an *Error; what Resolve and Dial return is one already.
func asError(domain string, err error) *Error {
	if own, ok := err.(*Error); ok {
		return own
	}
	return &Error{Domain: domain, Status: "4.3.5", Err: err}
}
