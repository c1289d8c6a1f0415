package policy

// Option is a wish that goes with one call, such as RequireTLS.
type Option func(*request)

// request is what a plan is made for; equal requests share a plan.
type request struct {
	domain      string
	requireTLS  bool
	tlsOptional bool
}

// RequireTLS asks for the protection of RFC 8689 section 2: the mail goes only
// to hosts that the domain's owner named, over TLS authenticated by DANE or the
// web PKI, and only to servers that promise the same for the next hop. When
// none is left the failure is permanent, because RFC 8689 section 4.2.1 wants
// the sender of the mail to know.
func RequireTLS() Option { return requireTLS }

// TLSOptional is for mail with the header field "TLS-Required: No" (RFC 8689
// section 3): it goes out as though DANE and MTA-STS were not supported.
// Config.Floor and overrides stay in force, since they are the operator's and
// not the recipient's. RequireTLS takes precedence.
func TLSOptional() Option { return tlsOptional }

func requireTLS(r *request)  { r.requireTLS = true }
func tlsOptional(r *request) { r.tlsOptional = true }
