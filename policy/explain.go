package policy

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/mxseal/mxseal/dane"
)

// Explain writes how the plan came about, step by step, for a postmaster to
// read. What came from the network is quoted where it is not plain text. The
// error is that of w.
func (p *Plan) Explain(w io.Writer) error {
	var b bytes.Buffer
	p.explainRoute(&b)
	p.explainMTASTS(&b)
	for _, host := range p.Hosts {
		host.explainTo(&b)
	}
	if p.omitted > 0 {
		fmt.Fprintf(&b, "  (%d more mail hosts, the worst by preference, are left out)\n", p.omitted)
	}
	fmt.Fprintf(&b, "  the plan holds until %s\n", p.Expires.UTC().Format(time.RFC3339))
	_, err := w.Write(b.Bytes())
	return err
}

func (p *Plan) explainRoute(b *bytes.Buffer) {
	fmt.Fprintln(b, printable(p.Domain))
	switch {
	case p.literal:
		fmt.Fprintln(b, "  an address literal: neither DANE nor MTA-STS applies")
	case p.NextHop != p.Domain:
		fmt.Fprintf(b, "  next hop: %s, configured by the operator (%s)\n", printable(p.NextHop), p.MXStatus)
	case p.ImplicitMX:
		fmt.Fprintf(b, "  MX records: none (%s); the domain is its own mail host\n", p.MXStatus)
	default:
		fmt.Fprintf(b, "  MX records: %s\n", p.MXStatus)
	}
	if p.RequireTLS {
		fmt.Fprintln(b, "  the mail says REQUIRETLS")
	}
	if p.tlsOptional {
		fmt.Fprintln(b, "  the mail says TLS-Required: No")
	}
}

func (p *Plan) explainMTASTS(b *bytes.Buffer) {
	if p.literal {
		return
	}
	m := &p.MTASTS
	switch {
	case m.off:
		fmt.Fprintln(b, "  MTA-STS: switched off for this mail")
	case m.Policy != nil:
		fmt.Fprintf(b, "  MTA-STS: mode %s, id %s, mx %s; fetched %s, in force until %s\n",
			m.Policy.Mode, printable(m.ID), strings.Join(m.Policy.MX, " "),
			m.Fetched.UTC().Format(time.RFC3339), m.Expires.UTC().Format(time.RFC3339))
	case m.Asked:
		fmt.Fprintln(b, "  MTA-STS: no policy")
	case m.Err != nil:
		fmt.Fprintln(b, "  MTA-STS: could not be asked")
	default:
		fmt.Fprintln(b, "  MTA-STS: not asked, because it would decide about none of the hosts")
	}
	if m.Err != nil {
		fmt.Fprintf(b, "    %s\n", printable(m.Err.Error()))
	}
}

func (h *Host) explainTo(b *bytes.Buffer) {
	fmt.Fprintf(b, "  %d %s port %d: %s", h.Preference, printable(h.Name), h.Port, h.Level)
	if h.By != 0 {
		fmt.Fprintf(b, " by %s", h.By)
	}
	fmt.Fprintf(b, "\n    %s\n", h.Why)
	if h.Refusal != nil && h.Refusal.Err != nil {
		fmt.Fprintf(b, "    %s\n", printable(h.Refusal.Err.Error()))
	}
	if len(h.Addrs) > 0 {
		fmt.Fprintf(b, "    addresses:")
		for _, addr := range h.Addrs {
			fmt.Fprintf(b, " %s", addr)
		}
		if h.DANE != nil && !h.plan.literal {
			fmt.Fprintf(b, " (%s)", h.DANE.AddrStatus)
		}
		fmt.Fprintln(b)
	}
	h.explainTLSA(b)
}

func (h *Host) explainTLSA(b *bytes.Buffer) {
	published, usable := h.TLSA, h.TLSA
	if h.DANE != nil && len(h.DANE.Records) > 0 {
		published, usable = h.DANE.Records, h.DANE.Usable
		fmt.Fprintf(b, "    TLSA base domain: %s\n", printable(h.DANE.BaseDomain))
	}
	for _, record := range published {
		fmt.Fprintf(b, "      %s: %s\n", record, recordUse(record, usable, h.TLSA))
	}
	if len(h.ReferenceNames) > 0 {
		fmt.Fprintf(b, "    a DANE-TA certificate may be for: %s\n", strings.Join(h.ReferenceNames, " "))
	}
	if h.ServerName != "" {
		fmt.Fprintf(b, "    SNI: %s\n", printable(h.ServerName))
	}
}

// recordUse says what becomes of a published record.
func recordUse(record dane.Record, usable, used []dane.Record) string {
	in := func(list []dane.Record) bool {
		return slices.ContainsFunc(list, func(r dane.Record) bool { return sameRecord(r, record) })
	}
	switch {
	case in(used):
		return "used"
	case in(usable):
		return "usable, but the host is refused"
	default:
		return "not used: unusable, or a stronger digest is there"
	}
}

func sameRecord(a, b dane.Record) bool {
	return a.Usage == b.Usage && a.Selector == b.Selector && a.MatchingType == b.MatchingType && bytes.Equal(a.Data, b.Data)
}
