package policy

import "github.com/mxseal/mxseal/policy/internal/decision"

// Level says what a session with a mail host must prove before it may carry mail.
// The zero value, Refused, permits no session. The other levels are in order: each
// requires more than the one before it.
type Level uint8

const (
	// Refused means that no session with the host may carry mail. The client
	// tries the next host, or the mail waits.
	Refused Level = Level(decision.Refused)
	// Opportunistic means that unauthenticated TLS is used if the server offers
	// it, and cleartext otherwise (RFC 7672 section 2.2, pre-DANE opportunistic
	// TLS).
	Opportunistic Level = Level(decision.Opportunistic)
	// Encrypted means that TLS is required, without authentication (RFC 7672
	// section 2.2, secure but unusable TLSA records).
	Encrypted Level = Level(decision.Encrypted)
	// Authenticated means that TLS is required and that the server is
	// authenticated by every mechanism in Host.By.
	Authenticated Level = Level(decision.Authenticated)
)

// String returns the lower-case name of the level.
func (l Level) String() string { return decision.Level(l).String() }

// MarshalText returns the name of the level.
func (l Level) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// Mechanism is the set of mechanisms that decided a host's level. The zero value
// is the empty set: no policy was found. If there are several, the session must
// meet all of them.
type Mechanism uint8

const (
	// ByDANE is RFC 7672.
	ByDANE Mechanism = Mechanism(decision.ByDANE)
	// ByMTASTS is RFC 8461.
	ByMTASTS Mechanism = Mechanism(decision.ByMTASTS)
	// ByOperator is the sender's own configuration: Config.Floor, an Override, or
	// an option such as RequireTLS.
	ByOperator Mechanism = Mechanism(decision.ByOperator)
)

// Has reports whether all mechanisms of other are in m.
func (m Mechanism) Has(other Mechanism) bool { return m&other == other }

// String returns the names, joined by "+", such as "DANE+MTA-STS"; "none" for
// the zero value.
func (m Mechanism) String() string { return decision.Mechanism(m).String() }

// MarshalText returns the names as String does.
func (m Mechanism) MarshalText() ([]byte, error) { return []byte(m.String()), nil }
