package policytest

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"time"
)

// Option is a property or a fault of a mail host or a web host. It is given when the
// host is made, or added for some time by Break. Options for mail have no effect on
// a web host, and options for the web none on a mail host.
type Option func(*behaviour)

// behaviour is the behavior of a server during one connection.
type behaviour struct {
	refuse, blackhole bool

	certificate           []func(*x509.Certificate)
	otherKey              bool
	selfSigned, untrusted bool
	tls                   []func(*tls.Config)

	noSTARTTLS bool
	extensions []string
	replies    map[string]string // by verb; stall and hangUp are special
	inject     string
	tlsa       []string
	addrs      []string
	port       uint16

	http func(http.ResponseWriter, *http.Request)
}

// These replies are not sent: the server does what they say.
const (
	stall   = "\x00stall"
	hangUp  = "\x00hang up"
	endless = "\x00endless"
)

func behave(options ...[]Option) *behaviour {
	b := &behaviour{replies: make(map[string]string), port: 25}
	for _, list := range options {
		for _, option := range list {
			option(b)
		}
	}
	return b
}

// Refuse refuses connections.
func Refuse(b *behaviour) { b.refuse = true }

// Blackhole lets connection attempts hang until the client gives up.
func Blackhole(b *behaviour) { b.blackhole = true }

// Moments at which Reply, Stall and HangUp can intervene, besides the SMTP
// commands by their verb, such as "STARTTLS" or "MAIL".
const (
	Greeting  = ""    // on connection, before the greeting of a mail host
	Handshake = "TLS" // in place of the TLS handshake, after STARTTLS was accepted
	EndOfData = "."   // after the whole message
	Fetch     = "GET" // at a request to a web host, such as for a policy
)

// Stall sends nothing at this moment, and keeps the connection open.
func Stall(moment string) Option { return Reply(moment, stall) }

// HangUp closes the connection at this moment.
func HangUp(moment string) Option { return Reply(moment, hangUp) }

// Endless begins a correct reply at this moment and never ends it: the lines of a
// greeting or of the reply to EHLO, or the body of a policy.
func Endless(moment string) Option { return Reply(moment, endless) }

// EndlessGreeting is Endless(Greeting).
func EndlessGreeting(b *behaviour) { Endless(Greeting)(b) }

// Reply sends this text at a moment of the SMTP session instead of the correct reply,
// for example Reply("STARTTLS", "454 4.7.0 not now") or
// Reply(policytest.Greeting, "554 no"). A line end is added. The session continues
// as that reply requires.
func Reply(moment, text string) Option {
	return func(b *behaviour) { b.replies[moment] = text }
}

// NoSTARTTLS omits STARTTLS from the reply to EHLO and refuses the command, as an
// attacker does who wants to read the mail.
func NoSTARTTLS(b *behaviour) { b.noSTARTTLS = true }

// InjectAfterSTARTTLS sends these octets directly after the reply to STARTTLS, in
// cleartext and in the same segment (CVE-2011-0411, "NO STARTTLS").
func InjectAfterSTARTTLS(octets string) Option {
	return func(b *behaviour) { b.inject = octets }
}

// Extension adds a line to the reply to EHLO after the TLS handshake.
func Extension(line string) Option {
	return func(b *behaviour) { b.extensions = append(b.extensions, line) }
}

// RequireTLS offers the REQUIRETLS extension (RFC 8689).
func RequireTLS(b *behaviour) { Extension("REQUIRETLS")(b) }

// TLSA publishes TLSA records for the host. The data of a record such as "3 1 1" is
// computed from the host's own certificate, or for usages 0 and 2 from that of the
// issuer, which is sent in the handshake. A record with four fields is published
// as it is, even if it is unusable or wrong.
func TLSA(records ...string) Option {
	return func(b *behaviour) { b.tlsa = append(b.tlsa, records...) }
}

// Addrs gives the host these addresses instead of an allocated one. They must be in
// the documentation ranges; IPv6 addresses are in 2001:db8::/32.
func Addrs(addrs ...string) Option {
	return func(b *behaviour) { b.addrs = append(b.addrs, addrs...) }
}

// Port makes a mail host listen on this port instead of 25. Its TLSA records are
// published for this port.
func Port(port uint16) Option {
	return func(b *behaviour) { b.port = port }
}

// Certificate changes the host's certificate before it is signed.
func Certificate(change func(*x509.Certificate)) Option {
	return func(b *behaviour) { b.certificate = append(b.certificate, change) }
}

// WrongName uses a certificate for these names instead of the host's.
func WrongName(names ...string) Option {
	return Certificate(func(c *x509.Certificate) {
		c.DNSNames = names
		if len(names) > 0 {
			c.Subject.CommonName = names[0]
		}
	})
}

// Expired uses a certificate that expired a day ago.
func Expired(b *behaviour) {
	Certificate(func(c *x509.Certificate) { c.NotAfter = time.Now().AddDate(0, 0, -1) })(b)
}

// SelfSigned uses a certificate that no authority signed.
func SelfSigned(b *behaviour) { b.selfSigned = true }

// UntrustedCA uses a certificate of an authority that is not in RootCAs.
func UntrustedCA(b *behaviour) { b.untrusted = true }

// OtherKey uses another key than the one that the TLSA records of the host are
// made from.
func OtherKey(b *behaviour) { b.otherKey = true }

// Impostor is an attacker in the place of the host: the certificate has the right
// name, but is self-signed and has another key.
func Impostor(b *behaviour) { SelfSigned(b); OtherKey(b) }

// TLSConfig changes the TLS configuration of the server.
func TLSConfig(change func(*tls.Config)) Option {
	return func(b *behaviour) { b.tls = append(b.tls, change) }
}

// MaxTLS limits the TLS version of the server, for example to tls.VersionTLS11.
func MaxTLS(version uint16) Option {
	return TLSConfig(func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, version })
}

// Respond answers the fetch of a policy, or any request to a Web host.
func Respond(handler func(http.ResponseWriter, *http.Request)) Option {
	return func(b *behaviour) { b.http = handler }
}

// Status answers the fetch of a policy with a status code and a valid policy.
func Status(code int) Option {
	return Respond(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		w.WriteHeader(code)
		w.Write([]byte("version: STSv1\r\nmode: none\r\nmax_age: 86400\r\n"))
	})
}

// Redirect answers the fetch of a policy with a redirect.
func Redirect(location string) Option {
	return Respond(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", location)
		w.WriteHeader(http.StatusFound)
	})
}

// Body answers the fetch of a policy with a text of this media type, such as
// "text/plain".
func Body(mediaType, text string) Option {
	return Respond(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", mediaType)
		w.Write([]byte(text))
	})
}
