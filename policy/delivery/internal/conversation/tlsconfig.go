package conversation

import (
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"slices"
)

// tlsConfig returns the configuration for the handshake: the host's, for the offer,
// with what the caller changes.
func (c *Conversation) tlsConfig() (*tls.Config, custom) {
	config := c.Host.TLSConfig()
	if c.SmallHello || c.Offer == OldTLS {
		config.CurvePreferences = []tls.CurveID{tls.X25519, tls.CurveP256, tls.CurveP384, tls.CurveP521}
	}
	var changed custom
	if c.Customize != nil {
		customized := config.Clone()
		c.Customize(customized)
		takeOver(config, customized)
		changed = customOf(config)
	}
	if c.Offer == OldTLS {
		addOldTLS(config)
	}
	return config, changed
}

// takeOver copies those fields of a customized configuration that verify nothing. It
// names the fields to copy, so that a field which a later crypto/tls adds weakens
// nothing either.
func takeOver(config, customized *tls.Config) {
	config.Certificates = slices.Clone(customized.Certificates)
	config.GetClientCertificate = customized.GetClientCertificate
	config.CurvePreferences = slices.Clone(customized.CurvePreferences)
	config.NextProtos = slices.Clone(customized.NextProtos)
	config.KeyLogWriter = customized.KeyLogWriter
	config.MinVersion = max(config.MinVersion, customized.MinVersion)
	config.MaxVersion = customized.MaxVersion
	// Suites that crypto/tls calls insecure stay out.
	for _, suite := range tls.CipherSuites() {
		if slices.Contains(customized.CipherSuites, suite.ID) {
			config.CipherSuites = append(config.CipherSuites, suite.ID)
		}
	}
}

// custom is what a caller has made of a configuration, for comparison. The zero value
// means that there is no such caller. MinVersion is left out, because it depends on the
// level too, and the version of a session tells whether it is met.
type custom struct {
	fields string
	choose func(*tls.CertificateRequestInfo) (*tls.Certificate, error)

	// asked is what the server asked choose for, or nil; sent is what it chose.
	asked *tls.CertificateRequestInfo
	sent  [sha256.Size]byte
}

func customOf(config *tls.Config) custom {
	certificates := sha256.New()
	for _, certificate := range config.Certificates {
		digest := digestOf(&certificate)
		certificates.Write(digest[:])
	}
	return custom{
		fields: fmt.Sprintf("%v %q %x %v %x", config.CurvePreferences, config.NextProtos, config.MaxVersion, config.CipherSuites, certificates.Sum(nil)),
		choose: config.GetClientCertificate,
	}
}

// equals reports whether a handshake with the current configuration would be as the one
// before was, as far as the client decides that. A function that chooses the client
// certificate is asked what it would choose now.
func (before custom) equals(now custom) bool {
	if before.fields != now.fields || (before.choose == nil) != (now.choose == nil) {
		return false
	}
	if before.asked == nil {
		return true
	}
	certificate, err := now.choose(before.asked)
	return err == nil && digestOf(certificate) == before.sent
}

// digestOf returns a digest of a certificate with its chain; nil has none.
func digestOf(certificate *tls.Certificate) (sum [sha256.Size]byte) {
	if certificate == nil {
		return sum
	}
	h := sha256.New()
	for _, der := range certificate.Certificate {
		digest := sha256.Sum256(der)
		h.Write(digest[:])
	}
	h.Sum(sum[:0])
	return sum
}

// addOldTLS makes a configuration that servers of twenty years ago understand, with
// RSA key exchange and 3DES, but never RC4.
func addOldTLS(config *tls.Config) {
	for _, suite := range tls.CipherSuites() {
		config.CipherSuites = append(config.CipherSuites, suite.ID)
	}
	config.CipherSuites = append(config.CipherSuites,
		tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256,
		tls.TLS_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_RSA_WITH_AES_256_GCM_SHA384, tls.TLS_RSA_WITH_AES_128_CBC_SHA256,
		tls.TLS_RSA_WITH_AES_128_CBC_SHA, tls.TLS_RSA_WITH_AES_256_CBC_SHA,
		tls.TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA, tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA,
	)
}
