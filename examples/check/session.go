package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/netip"
	"net/smtp"
	"slices"
	"sync"
	"time"

	"github.com/mxseal/mxseal/dane"
	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/tlsrpt"
)

// session is the result of connecting to one address of a mail host.
type session struct {
	Host string     `json:"host"`
	Addr netip.Addr `json:"address"`
	// OK is true if a sender would send mail in this session.
	OK           bool          `json:"ok"`
	TLS          string        `json:"tls,omitempty"` // TLS version, or empty without TLS
	Certificates []certificate `json:"certificates,omitempty"`
	Records      []record      `json:"tlsa,omitempty"`
	// MTASTS is the verdict of the policy in mode enforce or testing, or empty
	// if there is none.
	MTASTS string `json:"mta_sts,omitempty"`
	Error  string `json:"error,omitempty"`

	answered bool // the host accepted the connection
}

// certificate is a certificate that a server presented.
type certificate struct {
	Subject string    `json:"subject"`
	Issuer  string    `json:"issuer"`
	Names   []string  `json:"names,omitempty"`
	Expires time.Time `json:"expires"`
}

// record is a TLSA record with its verdict.
type record struct {
	Record  string `json:"record"`
	Matches bool   `json:"matches"`
	How     string `json:"how"`
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
func (c *checker) sessions(ctx context.Context, r *result) []*session {
	var list []*session
	var running sync.WaitGroup
	places := make(chan struct{}, sessionsAtOnce)
	for _, host := range r.Plan.Hosts {
		if host.Level == policy.Refused {
			continue
		}
		for _, addr := range host.Addrs {
			s := &session{Host: host.Name, Addr: addr}
			list = append(list, s)
			places <- struct{}{}
			c.progress.begin(r.Domain, "connecting to "+host.Name+" at "+addr.String())
			running.Go(func() {
				c.connectTo(ctx, host, s)
				<-places
			})
		}
	}
	running.Wait()
	return list
}

// connectTo starts a session as a sender does, up to and without the mail.
func (c *checker) connectTo(ctx context.Context, host *policy.Host, s *session) {
	ctx, cancel := context.WithTimeout(ctx, sessionTime)
	defer cancel()
	conn, err := c.dial(ctx, "tcp", netip.AddrPortFrom(s.Addr, host.Port).String())
	if err != nil {
		s.Error = err.Error()
		return
	}
	s.answered = true
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	state, spoke, err := c.talk(ctx, limitedConn{conn, io.LimitReader(conn, sessionOctets)}, host)
	if err != nil {
		s.Error = err.Error()
	}
	if state == nil {
		s.OK = spoke && host.Level == policy.Opportunistic // the mail would be sent in cleartext
		return
	}
	s.judge(host, state, c.now())
}

// talk conducts the session up to the TLS handshake. It does not verify the
// certificate, so that judge can describe a certificate that is not sufficient.
// state is nil without TLS; spoke reports whether the server speaks SMTP.
func (c *checker) talk(ctx context.Context, conn net.Conn, host *policy.Host) (state *tls.ConnectionState, spoke bool, err error) {
	client, err := smtp.NewClient(conn, host.Name)
	if err != nil {
		return nil, false, err
	}
	if err := client.Hello(c.helo); err != nil {
		return nil, false, err
	}
	if offered, _ := client.Extension("STARTTLS"); !offered {
		return nil, true, errors.New("the server does not offer STARTTLS")
	}
	if _, err := client.Text.Cmd("STARTTLS"); err != nil {
		return nil, true, err
	}
	if _, _, err := client.Text.ReadResponse(220); err != nil {
		return nil, true, err
	}
	if client.Text.R.Buffered() > 0 {
		return nil, false, errors.New("the server sent data between its reply to STARTTLS and the handshake (response injection)")
	}
	config := host.TLSConfig()
	config.VerifyConnection = nil
	secured := tls.Client(conn, config)
	if err := secured.HandshakeContext(ctx); err != nil {
		return nil, true, err
	}
	seen := secured.ConnectionState()
	io.WriteString(secured, "QUIT\r\n") // not required; ends the session politely
	return &seen, true, nil
}

// judge compares the TLS session with the plan.
func (s *session) judge(host *policy.Host, state *tls.ConnectionState, now time.Time) {
	s.TLS = tls.VersionName(state.Version)
	for _, cert := range state.PeerCertificates {
		s.Certificates = append(s.Certificates, certificate{cert.Subject.String(), cert.Issuer.String(), cert.DNSNames, cert.NotAfter.UTC()})
	}
	s.Records = judgeRecords(host, state.PeerCertificates, now)
	s.MTASTS = judgeMTASTS(host, state)
	if err := host.Verify(*state); err != nil {
		s.Error = err.Error()
		return
	}
	s.OK = true
}

// judgeRecords reports for each published TLSA record whether it matches. One
// match is sufficient for a sender.
func judgeRecords(host *policy.Host, chain []*x509.Certificate, now time.Time) []record {
	published := host.TLSA
	if host.DANE != nil && len(host.DANE.Records) > 0 {
		published = host.DANE.Records
	}
	var records []record
	for _, r := range published {
		match, err := dane.Verify(chain, []dane.Record{r}, host.ReferenceNames, now)
		judged := record{Record: r.String()}
		var mismatch *dane.Error
		switch {
		case errors.As(err, &mismatch):
			judged.How = mismatch.Attempts[0].Err.Error()
		case err != nil:
			judged.How = err.Error()
		case !slices.ContainsFunc(host.TLSA, func(used dane.Record) bool { return sameRecord(used, r) }):
			judged.How = "not used: a stronger digest is published"
		case match.Depth == 0:
			judged.Matches, judged.How = true, "matches the server's certificate"
		default:
			judged.Matches, judged.How = true, "matches an issuer of the server's certificate, which is for "+match.Name
		}
		records = append(records, judged)
	}
	return records
}

func sameRecord(a, b dane.Record) bool {
	return a.Usage == b.Usage && a.Selector == b.Selector && a.MatchingType == b.MatchingType && bytes.Equal(a.Data, b.Data)
}

// judgeMTASTS returns the verdict of the MTA-STS policy, in the terms of TLS
// reports.
func judgeMTASTS(host *policy.Host, state *tls.ConnectionState) string {
	report, _ := host.Attempted(policy.Done, state, nil)
	for _, outcome := range report.Outcomes {
		if outcome.Policy.Type != tlsrpt.STS {
			continue
		}
		if len(outcome.Failures) == 0 {
			return "met: the policy lists the host, and its certificate is valid"
		}
		return "not met: " + string(outcome.Failures[0].Type) + " " + outcome.Failures[0].ReasonCode
	}
	return ""
}

// limitedConn limits the octets that can be read from a connection.
type limitedConn struct {
	net.Conn
	limit io.Reader
}

func (c limitedConn) Read(p []byte) (int, error) { return c.limit.Read(p) }
