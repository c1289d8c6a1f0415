package survey

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/smtp"
	"sync"
	"syscall"
	"time"

	"github.com/mxseal/mxseal/policy"
)

// Session is the result of connecting to one address of a mail host.
type Session struct {
	Host string     `json:"host"`
	Addr netip.Addr `json:"address"`
	// OK is true if a sender would send mail in this session.
	OK           bool          `json:"ok"`
	TLS          string        `json:"tls,omitempty"` // TLS version, or empty without TLS
	Certificates []Certificate `json:"certificates,omitempty"`
	Records      []Record      `json:"tlsa,omitempty"`
	// WebPKI is why the certificate is not valid for the host's name in the web PKI. It is
	// empty if it is valid, or if there is no certificate.
	WebPKI string `json:"web_pki,omitempty"`
	// MTASTS is the verdict of the policy in mode enforce or testing, or empty if there is
	// none.
	MTASTS string `json:"mta_sts,omitempty"`
	Error  string `json:"error,omitempty"`
	// Untested is true if this machine has no connectivity for the family of the address,
	// which says nothing about the host.
	Untested bool `json:"untested,omitempty"`

	// Answered is true if the host accepted the connection.
	Answered bool `json:"answered"`
	// Seen is the state of the TLS session, or nil.
	Seen *tls.ConnectionState `json:"-"`
}

const (
	// sessionTime limits the time of a session, including the connection.
	sessionTime = 30 * time.Second
	// sessionOctets limits the octets read from a server.
	sessionOctets = 1 << 20
	// sessionsAtOnce limits the number of concurrent sessions for a domain.
	sessionsAtOnce = 8
)

// sessions connects to every address of every host that is not refused.
func (s *Surveyor) sessions(ctx context.Context, r *Result) []*Session {
	var list []*Session
	var running sync.WaitGroup
	places := make(chan struct{}, sessionsAtOnce)
	for _, host := range r.Plan.Hosts {
		if host.Level == policy.Refused {
			continue
		}
		for _, addr := range host.Addrs {
			session := &Session{Host: host.Name, Addr: addr}
			list = append(list, session)
			places <- struct{}{}
			s.Progress.Begin(r.Domain, "connecting to "+host.Name+" at "+addr.String())
			running.Go(func() {
				s.connectTo(ctx, r, host, session)
				<-places
			})
		}
	}
	running.Wait()
	return list
}

// connectTo holds a session as a sender does, but sends no mail.
func (s *Surveyor) connectTo(ctx context.Context, r *Result, host *policy.Host, session *Session) {
	ctx, cancel := context.WithTimeout(ctx, sessionTime)
	defer cancel()
	conn, err := s.Dial(ctx, "tcp", netip.AddrPortFrom(session.Addr, host.Port).String())
	if err != nil {
		session.Error = err.Error()
		session.Untested = errors.Is(err, syscall.ENETUNREACH) || errors.Is(err, syscall.EADDRNOTAVAIL)
		return
	}
	session.Answered = true
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	state, spoke, err := s.talk(ctx, limitedConn{conn, io.LimitReader(conn, sessionOctets)}, host)
	if err != nil {
		session.Error = err.Error()
	}
	if state == nil {
		session.OK = spoke && host.Level == policy.Opportunistic // the mail would be sent in cleartext
		return
	}
	s.inspect(r, session, host, state)
}

// talk conducts the session up to the TLS handshake. It does not verify the certificate, so
// that inspect can describe a certificate that is not sufficient. state is nil without TLS;
// spoke reports whether the server speaks SMTP.
func (s *Surveyor) talk(ctx context.Context, conn net.Conn, host *policy.Host) (state *tls.ConnectionState, spoke bool, err error) {
	client, err := smtp.NewClient(conn, host.Name)
	if err != nil {
		return nil, false, fmt.Errorf("greeting: %w", err)
	}
	if err := client.Hello(s.helo()); err != nil {
		return nil, false, fmt.Errorf("EHLO: %w", err)
	}
	if offered, _ := client.Extension("STARTTLS"); !offered {
		return nil, true, errors.New("the server does not offer STARTTLS")
	}
	if _, err := client.Text.Cmd("STARTTLS"); err != nil {
		return nil, true, fmt.Errorf("STARTTLS: %w", err)
	}
	if _, _, err := client.Text.ReadResponse(220); err != nil {
		return nil, true, fmt.Errorf("STARTTLS: %w", err)
	}
	if client.Text.R.Buffered() > 0 {
		return nil, false, errors.New("the server sent data between its reply to STARTTLS and the handshake (response injection)")
	}
	config := host.TLSConfig()
	config.VerifyConnection = nil
	secured := tls.Client(conn, config)
	if err := secured.HandshakeContext(ctx); err != nil {
		return nil, true, fmt.Errorf("TLS handshake: %w", err)
	}
	seen := secured.ConnectionState()
	io.WriteString(secured, "QUIT\r\n") // not required; ends the session politely
	return &seen, true, nil
}

// limitedConn limits the octets that can be read from a connection.
type limitedConn struct {
	net.Conn
	limit io.Reader
}

func (c limitedConn) Read(p []byte) (int, error) { return c.limit.Read(p) }
