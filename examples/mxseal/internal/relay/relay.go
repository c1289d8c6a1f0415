// Package relay takes mail from the mail server of this machine, over LMTP or SMTP, and hands it at once to
// the mail hosts of its recipients. It has no queue: the client gets a reply for each recipient, and keeps
// the mail that was not delivered.
package relay

import (
	"context"
	"log/slog"
	"net"
	"time"

	"github.com/emersion/go-smtp"
	"golang.org/x/net/netutil"

	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/delivery"
)

const (
	// deliveryTimeout lets the client receive a reply before its own timeout of ten minutes (RFC 5321
	// section 4.5.3.2.6). After that, the client would send the message again.
	deliveryTimeout = 8 * time.Minute
	// readTimeout bounds the wait for a command and for a message (RFC 5321 section 4.5.3.2.7).
	readTimeout  = 5 * time.Minute
	writeTimeout = time.Minute
	// maxRecipients is the limit for LMTP (RFC 5321 section 4.5.3.1.8). SMTP has one reply for all
	// recipients of a message, which cannot express different results.
	maxRecipients = 100
	// maxMessages bounds the messages in memory.
	maxMessages = 64
	// defaultMaxSize is the size of the largest message, in octets.
	defaultMaxSize = 25 << 20
)

// Config configures New.
type Config struct {
	// Name is the name of this host, in the greeting and in Received.
	Name string
	// MaxSize is the size of the largest message, in octets. 0 means 25 MiB.
	MaxSize int64
	// Send delivers a message, as a delivery.Pool does.
	Send   func(ctx context.Context, mail delivery.Mail, options ...policy.Option) (delivery.Result, error)
	Logger *slog.Logger
}

// Relay takes mail at any number of listeners. Make one with New.
type Relay struct {
	Config
	taking     context.Context // done when no more mail is taken
	stop       context.CancelFunc
	delivering context.Context // done when deliveries in progress must end
	interrupt  context.CancelFunc
	messages   chan struct{}
}

// New returns a relay.
func New(config Config) *Relay {
	if config.MaxSize == 0 {
		config.MaxSize = defaultMaxSize
	}
	r := &Relay{Config: config, messages: make(chan struct{}, maxMessages)}
	r.taking, r.stop = context.WithCancel(context.Background())
	r.delivering, r.interrupt = context.WithCancel(context.Background())
	return r
}

// maxConnections bounds the connections of a listener. Each may wait for a place for its message.
const maxConnections = 1024

// Serve takes mail until Shutdown is called, and returns nil when the last client has its reply. It closes
// the listener.
func (r *Relay) Serve(l net.Listener, lmtp bool) error {
	server := r.server(lmtp)
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener{netutil.LimitListener(l, maxConnections), r.taking}) }()
	select {
	case err := <-failed:
		server.Close()
		return err
	case <-r.taking.Done():
		return server.Shutdown(context.Background()) // each session ends soon, or with its delivery
	}
}

// Shutdown takes no more mail. Deliveries in progress end when ctx is done; their mail stays with the
// client.
func (r *Relay) Shutdown(ctx context.Context) {
	r.stop()
	context.AfterFunc(ctx, r.interrupt)
}

func (r *Relay) server(lmtp bool) *smtp.Server {
	server := smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
		return &session{relay: r, conn: c, lmtp: lmtp}, nil
	}))
	server.Domain = r.Name
	server.LMTP = lmtp
	server.MaxMessageBytes = r.MaxSize
	server.MaxRecipients = 1
	if lmtp {
		server.MaxRecipients = maxRecipients
	}
	server.ReadTimeout, server.WriteTimeout = readTimeout, writeTimeout
	server.EnableSMTPUTF8 = true
	server.ErrorLog = slog.NewLogLogger(r.Logger.Handler(), slog.LevelWarn)
	return server
}
