package policy

// demands is what a session must prove, mechanism by mechanism. Its zero value
// belongs to no level: Host.Level is looked at first.
type demands struct {
	// dane asks for a match with the TLSA records.
	dane bool
	// webPKI asks for a certificate of the web PKI for the MX host name.
	webPKI bool
	// observe asks to record what an MTA-STS policy in testing mode would have
	// refused (RFC 8461 section 5).
	observe bool
}
