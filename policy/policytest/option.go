package policytest

import (
	"crypto/tls"
	"crypto/x509"
	"net/netip"
	"time"
)

// Refuse makes the host refuse connections.
func Refuse(b *Behavior) { b.refuse = true }

// Blackhole makes connection attempts hang until the client gives up.
func Blackhole(b *Behavior) { b.blackhole = true }

// BlackholeAt is like Blackhole, for some of the addresses of the host.
func BlackholeAt(addrs ...string) Option {
	return func(b *Behavior) {
		for _, addr := range addrs {
			b.stalling = append(b.stalling, netip.MustParseAddr(addr))
		}
	}
}

// Addrs sets the addresses of the host. By default it gets one address of those
// that Contains reports. Other addresses are possible, for example "127.0.0.1" for
// a host that no sender must connect to. They exist only in the DNS and in Dial.
func Addrs(addrs ...string) Option {
	return func(b *Behavior) { b.addrs = append(b.addrs, addrs...) }
}

// Port sets the port of a mail host, which is also the port of its TLSA
// records. The default is 25. At port 465, TLS begins at once, and elsewhere by
// STARTTLS.
func Port(port uint16) Option {
	return func(b *Behavior) { b.port = port }
}

// Listen makes a host available to real programs. It listens at a real address of
// this machine, such as "127.0.0.21:2525", and has this address in the DNS. The
// port is also the port of its TLSA records. Listen concerns only options of
// Internet.Host and Internet.Web, not of Break. A program finds the host by
// Internet.ListenDNS or Internet.ListenResolver.
func Listen(addr string) Option {
	return func(b *Behavior) {
		real := netip.MustParseAddrPort(addr)
		b.listen, b.addrs, b.port = addr, []string{real.Addr().String()}, real.Port()
	}
}

// TLSA publishes TLSA records for the host. In a record with three fields, such
// as "3 1 1", the data is computed from the host's certificate, or for usages 0
// and 2 from the issuer's certificate, which the host also sends. A record with
// four fields is published unchanged, even if it is wrong or unusable.
func TLSA(records ...string) Option {
	return func(b *Behavior) { b.tlsa = append(b.tlsa, records...) }
}

// Certificate changes the template of the host's certificate before it is
// signed.
func Certificate(change func(*x509.Certificate)) Option {
	return func(b *Behavior) { b.certificate = append(b.certificate, change) }
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
func Expired(b *Behavior) {
	Certificate(func(c *x509.Certificate) { c.NotAfter = time.Now().AddDate(0, 0, -1) })(b)
}

// SelfSigned makes the host present a self-signed certificate.
func SelfSigned(b *Behavior) { b.selfSigned = true }

// UntrustedCA makes the host present a certificate of an authority that is not
// in RootCAs.
func UntrustedCA(b *Behavior) { b.untrusted = true }

// OtherKey makes the host use a different key from the one in its TLSA records.
func OtherKey(b *Behavior) { b.otherKey = true }

// Impostor makes the host behave like an attacker in its place. Its certificate
// has the right name, but it is self-signed and has another key.
func Impostor(b *Behavior) { SelfSigned(b); OtherKey(b) }

// NegativeSerial makes the host present a certificate with a negative serial
// number, which some libraries reject although its TLSA records match. Go rejects
// it unless GODEBUG has x509negativeserial=1.
func NegativeSerial(b *Behavior) { b.negativeSerial = true }

// TLSConfig changes the TLS configuration of the server.
func TLSConfig(change func(*tls.Config)) Option {
	return func(b *Behavior) { b.tls = append(b.tls, change) }
}

// MaxTLS sets the highest TLS version of the server, such as tls.VersionTLS11.
func MaxTLS(version uint16) Option {
	return TLSConfig(func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, version })
}

// OnlyRSAKeyExchange makes the host use an RSA key and support TLS 1.2 and earlier,
// and only cipher suites without forward secrecy. Its TLSA records change with the
// key, so give it with TLSA and not to Break.
func OnlyRSAKeyExchange(b *Behavior) {
	onlySuites(b, tls.TLS_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_RSA_WITH_AES_256_GCM_SHA384,
		tls.TLS_RSA_WITH_AES_128_CBC_SHA, tls.TLS_RSA_WITH_AES_256_CBC_SHA)
}

// Only3DES is like OnlyRSAKeyExchange, with 3DES as the only cipher.
func Only3DES(b *Behavior) { onlySuites(b, tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA) }

func onlySuites(b *Behavior, suites ...uint16) {
	b.rsaKey = true
	MaxTLS(tls.VersionTLS12)(b)
	TLSConfig(func(c *tls.Config) { c.CipherSuites = suites })(b)
}

// RequireClientCertificate makes the host reject clients without a certificate. In
// TLS 1.3, a client learns it only after its side of the handshake is complete.
func RequireClientCertificate(b *Behavior) {
	TLSConfig(func(c *tls.Config) { c.ClientAuth = tls.RequireAnyClientCert })(b)
}

// DropLargeHello makes the path to the host lose a ClientHello of more than max
// octets, as old middleboxes do with those that have post-quantum key shares. The
// client waits.
func DropLargeHello(max int) Option {
	return func(b *Behavior) { b.maxHello = max }
}

// Alert makes the host reject the ClientHello with a fatal TLS alert, such as 70,
// protocol_version (RFC 8446 section 6).
func Alert(alert tls.AlertError) Option {
	const fatal = 2
	return On(Handshake, Send(string([]byte{recordAlert, 3, 3, 0, 2, fatal, byte(alert)})).ThenDisconnect())
}
