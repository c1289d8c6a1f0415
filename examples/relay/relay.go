package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/mxseal/mxseal/policy/delivery"
)

const (
	// deliveryTimeout lets the client receive a reply before its own timeout of
	// ten minutes (RFC 5321 section 4.5.3.2.6). After that, the client would
	// send the message again.
	deliveryTimeout = 8 * time.Minute
	// readTimeout limits the wait for a command and for a message (RFC 5321
	// section 4.5.3.2.7).
	readTimeout  = 5 * time.Minute
	writeTimeout = time.Minute
	// maxRecipients is the limit for LMTP (RFC 5321 section 4.5.3.1.8). SMTP
	// has one reply for all recipients of a message, which cannot express
	// different results.
	maxRecipients = 100
)

// relay forwards mail. It implements smtp.Backend.
type relay struct {
	settings
	dialer *delivery.Dialer
	log    *slog.Logger

	taking     context.Context // done when no more mail is accepted
	delivering context.Context // done when deliveries in progress must end
}

// serve accepts mail until ctx is done. Deliveries in progress then have the
// time grace to end.
func (r *relay) serve(ctx context.Context, l net.Listener, grace time.Duration) error {
	delivering, interrupt := context.WithCancel(context.WithoutCancel(ctx))
	defer interrupt()
	r.taking, r.delivering = ctx, delivering
	server := r.server()
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener{l, ctx}) }()
	r.log.Info("listening", "address", l.Addr(), "lmtp", r.lmtp)
	select {
	case err := <-failed:
		server.Close()
		return err
	case <-ctx.Done():
	}
	defer time.AfterFunc(grace, interrupt).Stop()
	return server.Shutdown(context.WithoutCancel(ctx))
}

func (r *relay) server() *smtp.Server {
	server := smtp.NewServer(r)
	server.Domain = r.name
	server.LMTP = r.lmtp
	server.MaxMessageBytes = r.maxSize
	server.MaxRecipients = 1
	if r.lmtp {
		server.MaxRecipients = maxRecipients
	}
	server.ReadTimeout = readTimeout
	server.WriteTimeout = writeTimeout
	server.ErrorLog = slog.NewLogLogger(r.log.Handler(), slog.LevelWarn)
	return server
}

// NewSession is called after EHLO or LHLO.
func (r *relay) NewSession(c *smtp.Conn) (smtp.Session, error) {
	return &session{relay: r, conn: c}, nil
}

// session is an SMTP or LMTP session. If the client aborts a message that comes
// in chunks, Data and LMTPData run concurrently with Reset.
type session struct {
	relay *relay
	conn  *smtp.Conn

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

// Rcpt adds a recipient. go-smtp limits the number of recipients.
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
	e, replies, err := s.hand(r)
	if err != nil {
		return err
	}
	return replies[e.to[0]]
}

// LMTPData delivers the message and sets a reply for each recipient.
func (s *session) LMTPData(r io.Reader, status smtp.StatusCollector) error {
	e, replies, err := s.hand(r)
	if err != nil {
		return err
	}
	for _, to := range e.to {
		status.SetStatus(to, replies[to])
	}
	return nil
}

// hand reads a message and delivers it. The map contains a reply for each
// recipient that did not get it. The error applies to all recipients.
func (s *session) hand(r io.Reader) (envelope, map[string]error, error) {
	s.mu.Lock()
	e := s.envelope
	s.mu.Unlock()
	message, err := readMessage(r)
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
	_, err = s.relay.dialer.Send(ctx, mail)
	return e, s.relay.replies(err), nil
}

// delivered logs how a message was delivered.
func (r *relay) delivered(d delivery.Delivery) {
	tls := d.TLSVersion()
	if tls == "" {
		tls = "none"
	}
	r.log.Info("delivered", "to", d.Recipients, "host", d.Host.Name, "level", d.Host.Level, "by", d.Host.By,
		"tls", tls, "reply", d.Reply.String(), "queue_id", d.Reply.QueueID())
}

// replies returns the replies for the recipients that did not get a message.
func (r *relay) replies(err error) map[string]error {
	var failed *delivery.SendError
	if !errors.As(err, &failed) {
		return nil
	}
	replies := make(map[string]error)
	for _, u := range failed.Undelivered {
		reply := replyOf(u.Err)
		for _, to := range u.Recipients {
			r.log.Info("not delivered", "to", to, "code", reply.Code, "outcome_unknown", u.OutcomeUnknown, "error", u.Err)
			replies[to] = reply
		}
	}
	return replies
}
