package relay

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/emersion/go-smtp"

	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/delivery"
)

// session is a session with a client. If the client aborts a message that comes in chunks, Data and LMTPData
// run concurrently with Reset.
type session struct {
	relay *Relay
	conn  *smtp.Conn
	lmtp  bool

	mu       sync.Mutex
	envelope envelope
}

// envelope is a mail transaction.
type envelope struct {
	client trace
	from   string
	to     []string
}

// Mail begins a mail transaction.
func (s *session) Mail(from string, _ *smtp.MailOptions) error {
	if s.relay.taking.Err() != nil {
		return &smtp.SMTPError{Code: 421, EnhancedCode: smtp.EnhancedCode{4, 3, 2}, Message: "the relay is shutting down"}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.envelope = envelope{client: s.trace(), from: from}
	return nil
}

// Rcpt adds a recipient. go-smtp limits their number.
func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.envelope.to = append(s.envelope.to, to)
	return nil
}

// Reset ends the transaction.
func (s *session) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.envelope = envelope{}
}

// Logout ends the session.
func (s *session) Logout() error { return nil }

// Data delivers the message to its only recipient.
func (s *session) Data(r io.Reader) error {
	e, replies, err := s.deliver(r)
	if err != nil {
		return err
	}
	return replies[e.to[0]]
}

// LMTPData delivers the message and sets a reply for each recipient.
func (s *session) LMTPData(r io.Reader, status smtp.StatusCollector) error {
	e, replies, err := s.deliver(r)
	if err != nil {
		return err
	}
	for _, to := range e.to {
		status.SetStatus(to, replies[to])
	}
	return nil
}

// deliver reads a message and delivers it. The map has a reply for each recipient. The error applies to all
// of them.
func (s *session) deliver(r io.Reader) (envelope, map[string]*smtp.SMTPError, error) {
	select {
	case s.relay.messages <- struct{}{}:
		defer func() { <-s.relay.messages }()
	case <-s.relay.taking.Done():
		return envelope{}, nil, &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 3, 2}, Message: "the relay is shutting down"}
	}
	s.mu.Lock()
	e := s.envelope
	s.mu.Unlock()
	message, requireTLS, err := readMessage(r)
	if err != nil {
		return e, nil, err
	}
	ctx, cancel := context.WithTimeout(s.relay.delivering, deliveryTimeout)
	defer cancel()
	message = append(e.client.field(), message...)
	mail := delivery.Mail{From: e.from, Message: bytes.NewReader(message), Size: int64(len(message))}
	for _, address := range e.to {
		mail.To = append(mail.To, delivery.Recipient{Address: address})
	}
	var options []policy.Option
	if requireTLS {
		options = append(options, policy.RequireTLS())
	}
	result, err := s.relay.Send(ctx, mail, options...)
	return e, s.relay.replies(e, result, err), nil
}

// replies returns a reply for each recipient, and logs it. A recipient about whom nothing is said keeps
// waiting.
func (r *Relay) replies(e envelope, result delivery.Result, err error) map[string]*smtp.SMTPError {
	replies := make(map[string]*smtp.SMTPError, len(e.to))
	for _, d := range result.Delivered {
		reply := delivered(d)
		for _, to := range d.Recipients {
			replies[to] = reply
			r.Logger.Info("delivered", "to", to, "host", d.Host.Name, "level", d.Host.Level, "by", d.Host.By,
				"route_authenticated", d.Host.RouteAuthenticated, "tls", tlsOf(d), "reply", d.Reply.String())
		}
	}
	var failed *delivery.SendError
	if errors.As(err, &failed) {
		for _, u := range failed.Undelivered {
			reply := undelivered(u.Err)
			for _, to := range u.Recipients {
				replies[to] = reply
				r.Logger.Info("not delivered", "to", to, "code", reply.Code, "outcome_unknown", u.OutcomeUnknown, "error", u.Err)
			}
		}
	}
	for _, to := range e.to {
		if replies[to] == nil {
			replies[to] = &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 3, 0}, Message: fmt.Sprint("the delivery has no result: ", err)}
			r.Logger.Error("a delivery has no result", "to", to, "error", err)
		}
	}
	return replies
}
