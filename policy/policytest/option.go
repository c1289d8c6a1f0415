package policytest

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"time"
)

// Option is a property or a fault of a mail host or an HTTPS host. It is given
// when the host is added, or for a time by Break. An option that concerns only
// mail has no effect on an HTTPS host, and the reverse.
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
	replies    map[string]string // by moment; stall, hangUp and endless are special
	inject     string
	tlsa       []string
	addrs      []string
	port       uint16

	http func(http.ResponseWriter, *http.Request)
}

// These values of replies are not sent. They stand for an action.
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

// Refuse makes the host refuse connections.
func Refuse(b *behaviour) { b.refuse = true }

// Blackhole makes connection attempts hang until the client gives up.
func Blackhole(b *behaviour) { b.blackhole = true }

// Moments for Reply, Stall, HangUp and Endless. The SMTP commands are moments
// too, by their verb, such as "STARTTLS" or "MAIL".
const (
	Greeting  = ""    // after connecting, before the greeting of a mail host
	Handshake = "TLS" // after STARTTLS was accepted, instead of the TLS handshake
	EndOfData = "."   // after the final dot of a message
	Fetch     = "GET" // at a request to an HTTPS host
)

// Stall makes the host send nothing at this moment and keep the connection
// open.
func Stall(moment string) Option { return Reply(moment, stall) }

// HangUp makes the host close the connection at this moment.
func HangUp(moment string) Option { return Reply(moment, hangUp) }

// Endless makes the host begin a valid reply at this moment and never end it.
// It affects the lines of a greeting, the lines of the reply to EHLO, and the
// body of a policy.
func Endless(moment string) Option { return Reply(moment, endless) }

// Reply makes the host send text at this moment instead of its usual reply, for
// example Reply("STARTTLS", "454 4.7.0 not now") or Reply(policytest.Greeting,
// "554 no"). The host adds the line end. The session continues as the reply
// code requires.
func Reply(moment, text string) Option {
	return func(b *behaviour) { b.replies[moment] = text }
}

// NoSTARTTLS removes STARTTLS from the reply to EHLO and makes the host refuse
// the command, as in a downgrade attack.
func NoSTARTTLS(b *behaviour) { b.noSTARTTLS = true }

// InjectAfterSTARTTLS makes the host send these octets in cleartext directly
// after the reply to STARTTLS, in the same segment (CVE-2011-0411, "NO
// STARTTLS").
func InjectAfterSTARTTLS(octets string) Option {
	return func(b *behaviour) { b.inject = octets }
}

// Extension adds a line to the reply to EHLO within TLS.
func Extension(line string) Option {
	return func(b *behaviour) { b.extensions = append(b.extensions, line) }
}

// RequireTLS makes the host offer the REQUIRETLS extension (RFC 8689).
func RequireTLS(b *behaviour) { Extension("REQUIRETLS")(b) }

// TLSA publishes TLSA records for the host. In a record with three fields, such
// as "3 1 1", the data is computed from the host's certificate, or for usages 0
// and 2 from the issuer's certificate, which the host also sends. A record with
// four fields is published unchanged, even if it is wrong or unusable.
func TLSA(records ...string) Option {
	return func(b *behaviour) { b.tlsa = append(b.tlsa, records...) }
}

// Addrs sets the addresses of the host. By default it gets one IPv4 address.
// The addresses must be in the documentation ranges, such as 192.0.2.0/24 or
// 2001:db8::/32.
func Addrs(addrs ...string) Option {
	return func(b *behaviour) { b.addrs = append(b.addrs, addrs...) }
}

// Port sets the port of a mail host, which is also the port of its TLSA
// records. The default is 25.
func Port(port uint16) Option {
	return func(b *behaviour) { b.port = port }
}

// Certificate changes the template of the host's certificate before it is
// signed.
func Certificate(change func(*x509.Certificate)) Option {
	return func(b *behaviour) { b.certificate = append(b.certificate, change) }
}

// WrongName makes the host's certificate valid for these names instead of the
// host's name.
func WrongName(names ...string) Option {
	return Certificate(func(c *x509.Certificate) {
		c.DNSNames = names
		if len(names) > 0 {
			c.Subject.CommonName = names[0]
		}
	})
}

// Expired makes the host present a certificate that expired a day ago.
func Expired(b *behaviour) {
	Certificate(func(c *x509.Certificate) { c.NotAfter = time.Now().AddDate(0, 0, -1) })(b)
}

// SelfSigned makes the host present a self-signed certificate.
func SelfSigned(b *behaviour) { b.selfSigned = true }

// UntrustedCA makes the host present a certificate of an authority that is not
// in RootCAs.
func UntrustedCA(b *behaviour) { b.untrusted = true }

// OtherKey makes the host use a different key from the one in its TLSA records.
func OtherKey(b *behaviour) { b.otherKey = true }

// Impostor makes the host behave like an attacker in its place. Its certificate
// has the right name, but it is self-signed and has another key.
func Impostor(b *behaviour) { SelfSigned(b); OtherKey(b) }

// TLSConfig changes the TLS configuration of the server.
func TLSConfig(change func(*tls.Config)) Option {
	return func(b *behaviour) { b.tls = append(b.tls, change) }
}

// MaxTLS sets the highest TLS version of the server, such as tls.VersionTLS11.
func MaxTLS(version uint16) Option {
	return TLSConfig(func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, version })
}

// Respond sets the handler for requests to a policy host or another HTTPS host.
func Respond(handler func(http.ResponseWriter, *http.Request)) Option {
	return func(b *behaviour) { b.http = handler }
}

// Status makes a policy host answer with this status code and a valid policy.
func Status(code int) Option {
	return Respond(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		w.WriteHeader(code)
		w.Write([]byte("version: STSv1\r\nmode: none\r\nmax_age: 86400\r\n"))
	})
}

// Redirect makes a policy host redirect requests to location.
func Redirect(location string) Option {
	return Respond(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", location)
		w.WriteHeader(http.StatusFound)
	})
}

// Body makes a policy host answer with text of this media type, such as
// "text/plain".
func Body(mediaType, text string) Option {
	return Respond(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", mediaType)
		w.Write([]byte(text))
	})
}
