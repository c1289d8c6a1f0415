package policytest

// NoSTARTTLS removes STARTTLS from the reply to EHLO and makes the host refuse
// the command, as in a downgrade attack.
func NoSTARTTLS(b *Behavior) { b.noSTARTTLS = true }

// MustSTARTTLS makes the host reply 530 in cleartext to all commands but EHLO,
// HELO, STARTTLS, NOOP and QUIT (RFC 3207 section 4).
func MustSTARTTLS(b *Behavior) { b.mustSTARTTLS = true }

// InjectAfterSTARTTLS makes the host send these octets in cleartext directly
// after the reply to STARTTLS, in the same segment (CVE-2011-0411, "NO
// STARTTLS").
func InjectAfterSTARTTLS(octets string) Option {
	return func(b *Behavior) { b.inject = octets }
}

// BareReplies makes the host omit the text of replies of one line: "220", "250",
// "354" (RFC 5321 section 4.2.1).
func BareReplies(b *Behavior) { b.bareReplies = true }

// MixedCase makes the host write the keywords in the reply to EHLO as in
// "StArTtLs". Keywords are equal in any case (RFC 5321 section 2.4).
func MixedCase(b *Behavior) { b.mixedCase = true }

// Extension adds a line to the reply to EHLO within TLS.
func Extension(line string) Option {
	return func(b *Behavior) { b.extensions = append(b.extensions, line) }
}

// OfferREQUIRETLS makes the host offer the extension REQUIRETLS within TLS
// (RFC 8689).
func OfferREQUIRETLS(b *Behavior) { Extension("REQUIRETLS")(b) }

// NoExtension removes extensions from the reply to EHLO, such as "8BITMIME" or
// "SMTPUTF8". The host replies 555 to parameters that need them.
func NoExtension(keywords ...string) Option {
	return func(b *Behavior) { b.without = append(b.without, keywords...) }
}

// MaxRecipients makes the host send this reply to each RCPT command of a
// transaction after max accepted ones, such as "452 4.5.3 too many recipients" or
// "552 too many recipients" (RFC 5321 section 4.5.3.1.10).
func MaxRecipients(max int, reply string) Option {
	return func(b *Behavior) { b.maxRecipients, b.tooMany = max, reply }
}
