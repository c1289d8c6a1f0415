// Package relay takes mail from the mail server of this machine, over LMTP or SMTP, and hands it at once to
// the mail hosts of its recipients. It has no queue: the client gets a reply for each recipient, and keeps
// the mail that was not delivered.
package relay

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"time"

	"github.com/mxseal/mxseal/examples/mxseal/internal/accept"
	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/delivery"
)

const (
	// maxRecipients is the limit for LMTP (RFC 5321 section 4.5.3.1.8). SMTP has one reply for all
	// recipients of a message, which cannot express different results.
	maxRecipients = 100
	// maxConnections bounds the connections of LMTP, and separately those of SMTP.
	maxConnections = 1024
	// leastRoom is how many octets of messages the relay holds at a time: more only if two messages of
	// the largest size would not fit.
	leastRoom = 256 << 20
)

// Config configures New.
type Config struct {
	// Name is the name of this host, in the greeting and in Received.
	Name string
	// MaxSize is the size of the largest message, in octets. It is required.
	MaxSize int64
	// ClientTimeout is how long clients wait for the reply to a message. After that, they send it again.
	// It is required.
	ClientTimeout time.Duration
	// Convert8Bit permits the conversion of 8-bit text for hosts without 8BITMIME.
	Convert8Bit bool
	// Send delivers a message, as a delivery.Pool does whose DomainTimeout is what TimeToBegin returns.
	Send func(ctx context.Context, mail delivery.Mail, options ...policy.Option) (delivery.Result, error)
	// Submit gives a report about a message to the mail server. nil means that DSN is not offered to
	// clients, which then report themselves that a message was relayed.
	Submit func(ctx context.Context, to string, report []byte) error
	// STARTTLS offers TLS to clients, with a certificate that is made for the purpose: a client cannot use
	// REQUIRETLS without TLS (RFC 8689 section 2).
	STARTTLS bool
	Logger   *slog.Logger
}

const (
	// messageTimeout is how long a mail host may take for its reply to a message (RFC 5321 section
	// 4.5.3.2.6).
	messageTimeout = 10 * time.Minute
	// ownTime is what the relay needs besides the mail hosts.
	ownTime = time.Minute
)

// TimeToBegin returns how much time there is until a message must begin at a mail host: the ten minutes for the
// reply of the host must still fit within the time for which the client waits. Otherwise the client
// would send a message again that the host has accepted.
func TimeToBegin(clientTimeout time.Duration) time.Duration {
	return clientTimeout - messageTimeout - ownTime
}

// Relay takes mail at any number of listeners. Make one with New.
type Relay struct {
	Config
	clients    map[bool]*accept.Taker // by whether they speak LMTP
	taking     context.Context        // done when no more mail is taken
	stop       context.CancelFunc
	delivering context.Context // done when deliveries in progress must end
	interrupt  context.CancelFunc
	room       room
	starttls   *tls.Config // nil if it is not offered
}

// New returns a relay.
func New(config Config) (*Relay, error) {
	r := &Relay{Config: config, clients: make(map[bool]*accept.Taker)}
	if config.STARTTLS {
		var err error
		if r.starttls, err = selfSigned(config.Name); err != nil {
			return nil, err
		}
	}
	r.taking, r.stop = context.WithCancel(context.Background())
	r.delivering, r.interrupt = context.WithCancel(context.Background())
	r.room.left.Store(max(leastRoom, 2*config.MaxSize))
	for _, lmtp := range []bool{true, false} {
		r.clients[lmtp] = accept.New(accept.Config{
			Most: maxConnections, Serve: func(conn net.Conn) { newSession(r, conn, lmtp).run() }, Logger: config.Logger,
		})
	}
	return r, nil
}

// Serve takes mail until Shutdown is called, and returns nil when the last client has its reply. It closes
// the listener.
func (r *Relay) Serve(l net.Listener, lmtp bool) error {
	clients := r.clients[lmtp]
	err := clients.Listen(l)
	if err == nil {
		clients.Wait() // each session ends soon, or with its delivery
	}
	return err
}

// Shutdown takes no more mail. Deliveries in progress end when ctx is done; their mail stays with the
// client.
func (r *Relay) Shutdown(ctx context.Context) {
	r.stop()
	for _, clients := range r.clients {
		clients.Drain()
	}
	context.AfterFunc(ctx, r.interrupt)
}
