package decision

// Absence says why no policy demands anything of a host. The zero value means that there
// are neither secure TLSA records nor an MTA-STS policy.
type Absence struct {
	DANE    NoDANE
	MTASTS  NoMTASTS
	Literal bool // the next hop is an address literal
}

// NoDANE is why DANE demands nothing.
type NoDANE uint8

const (
	NoTLSA       NoDANE = iota // no secure TLSA records
	NotSigned                  // the addresses are insecure, so TLSA records do not count
	DANEOff                    // switched off by the operator
	DANEOffForMX               // the same for insecure MX records
)

// NoMTASTS is why MTA-STS demands nothing.
type NoMTASTS uint8

const (
	NoPolicy       NoMTASTS = iota // the domain announces none
	ModeNone                       // the policy has mode none
	PolicyNotFound                 // the search failed, so there may be one
	MTASTSOff                      // switched off by the operator
)

// ending is what is demanded in the end.
type ending uint8

const (
	toNothing ending = iota
	toEncryption
	toWebPKI
)

// text says why no policy demands anything, and what is demanded.
func (a Absence) text(to ending) string {
	if a.Literal {
		return absenceTexts.literal[to]
	}
	return absenceTexts.others[a.DANE][a.MTASTS][to]
}

// absenceTexts has all texts, so that no plan has a copy of its own. It is not changed.
var absenceTexts = func() (all struct {
	literal [3]string
	others  [4][4][3]string
}) {
	ends := [...]string{": TLS if the server offers it", "; the operator requires encryption", "; the operator requires a certificate of the web PKI"}
	ofDANE := [...]string{
		"no secure TLSA records", "the host's addresses are not signed, so DANE does not apply", "DANE is switched off",
		"DANE is switched off for MX records that are not secure",
	}
	ofMTASTS := [...]string{
		"no MTA-STS policy", "the MTA-STS policy has mode none", "the search for an MTA-STS policy failed", "MTA-STS is switched off",
	}
	for to, end := range ends {
		all.literal[to] = "an address literal, to which no policy applies" + end
		for i, dane := range ofDANE {
			for j, mtasts := range ofMTASTS {
				all.others[i][j][to] = dane + ", and " + mtasts + end
			}
		}
	}
	return all
}()
