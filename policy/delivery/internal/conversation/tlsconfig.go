package conversation

import (
	"crypto/tls"
	"slices"
)

// tlsConfig returns the configuration for the handshake: the host's, for the offer,
// with what the caller changes.
func (c *Conversation) tlsConfig() *tls.Config {
	config := c.Host.TLSConfig()
	if c.SmallHello || c.Offer == OldTLS {
		config.CurvePreferences = []tls.CurveID{tls.X25519, tls.CurveP256, tls.CurveP384, tls.CurveP521}
	}
	if c.Customize != nil {
		customized := config.Clone()
		c.Customize(customized)
		takeOver(config, customized)
	}
	if c.Offer == OldTLS {
		addOldTLS(config)
	}
	return config
}

// takeOver changes a configuration to a customized one, in those fields that verify
// nothing. It copies these, and not the others, so that a field which package
// crypto/tls will add weakens nothing either.
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
