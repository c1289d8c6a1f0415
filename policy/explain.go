package policy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/mxseal/mxseal/dane"
	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/internal/names"
	"github.com/mxseal/mxseal/mtasts"
	"github.com/mxseal/mxseal/tlsrpt"
)

// Explain writes how the plan was made, step by step, for a postmaster. Whatever
// came from the network is escaped where it is not printable ASCII, and is on one
// line. The error is that of w.
func (p *Plan) Explain(w io.Writer) error {
	var b explanation
	b.route(p)
	b.mtasts(p)
	for _, host := range p.Hosts {
		b.host(host)
	}
	if p.omitted > 0 {
		fmt.Fprintf(&b, "  (%d more mail hosts of worse preference are left out)\n", p.omitted)
	}
	fmt.Fprintf(&b, "  the plan holds until %s\n", p.Expires.UTC().Format(time.RFC3339))
	_, err := w.Write(b.Bytes())
	return err
}

// explanation is the text that Explain writes.
type explanation struct{ bytes.Buffer }

func (b *explanation) route(p *Plan) {
	fmt.Fprintln(b, names.Printable(p.Domain, maxText))
	switch {
	case p.literal:
		fmt.Fprintln(b, "  an address literal: neither DANE nor MTA-STS applies")
	case p.Via != "":
		fmt.Fprintf(b, "  next hop: %s, configured by the operator (%s)\n", names.Printable(p.Via, maxText), p.MXStatus)
	case p.ImplicitMX:
		fmt.Fprintf(b, "  MX records: none (%s); the domain is its own mail host\n", p.MXStatus)
	default:
		fmt.Fprintf(b, "  MX records: %s\n", p.MXStatus)
	}
	if p.expansion != "" {
		fmt.Fprintf(b, "  an alias of %s, which has the MX records\n", names.Printable(p.expansion, maxText))
	}
	if options := p.asked.options(); len(options) > 0 {
		fmt.Fprintf(b, "  options of the call: %s\n", strings.Join(options, ", "))
	}
	if p.RequireTLS {
		fmt.Fprintln(b, "  the mail requires TLS (REQUIRETLS)")
	}
	if p.asked.tlsOptional {
		fmt.Fprintln(b, "  the mail says TLS-Required: No")
	}
}

func (b *explanation) mtasts(p *Plan) {
	if p.literal {
		return
	}
	m := &p.MTASTS
	switch {
	case m.off:
		fmt.Fprintln(b, "  MTA-STS: switched off for this mail")
	case m.Policy != nil:
		listed := ""
		if m.Policy.Mode != mtasts.None {
			listed = ", mx " + strings.Join(m.Policy.MX, " ")
		}
		fmt.Fprintf(b, "  MTA-STS: mode %s, id %s%s; fetched %s, in force until %s\n",
			m.Policy.Mode, names.Printable(m.ID, maxText), listed,
			m.Fetched.UTC().Format(time.RFC3339), m.Expires.UTC().Format(time.RFC3339))
	case m.Err != nil:
		fmt.Fprintln(b, "  MTA-STS: the search for a policy failed, which does not mean that there is none")
	case m.Asked:
		fmt.Fprintln(b, "  MTA-STS: the domain has no policy")
	case !slices.ContainsFunc(p.Hosts, func(h *Host) bool { return h.By.Has(ByDANE) }):
		fmt.Fprintln(b, "  MTA-STS: not asked, because no mail host has an address")
	default:
		fmt.Fprintln(b, "  MTA-STS: not asked, because DANE decides for all hosts")
	}
	if m.Err != nil {
		fmt.Fprintf(b, "    %s\n", oneLine(m.Err.Error()))
	}
}

func (b *explanation) host(h *Host) {
	fmt.Fprintf(b, "  %d %s port %d: %s", h.Preference, names.Printable(h.Name, maxText), h.Port, h.Level)
	if h.By != 0 {
		fmt.Fprintf(b, " by %s", h.By)
	}
	fmt.Fprintf(b, "\n    %s\n", h.Why)
	for _, text := range h.override.texts() {
		fmt.Fprintf(b, "    Config.HostOverrides: %s\n", text)
	}
	if h.Refusal != nil && h.Refusal.Err != nil {
		fmt.Fprintf(b, "    %s\n", oneLine(h.Refusal.Err.Error()))
	}
	b.addresses(h)
	b.tlsa(h)
}

func (b *explanation) addresses(h *Host) {
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
	if h.DANE == nil {
		return
	}
	for _, alias := range h.DANE.Aliases {
		fmt.Fprintf(b, "    %s is an alias of %s (%s)\n", names.Printable(alias.Name, maxText), names.Printable(alias.Target, maxText), alias.Status)
	}
	for _, l := range h.DANE.Lookups {
		if l.Err != nil && l.Type != dnssec.TypeTLSA {
			fmt.Fprintf(b, "    only one family of addresses is used, because the lookup of %s failed: %s\n", l.Type, oneLine(l.Err.Error()))
		}
	}
}

func (b *explanation) tlsa(h *Host) {
	published, skipped := h.TLSA, []dane.Skip(nil)
	if h.DANE != nil && len(h.DANE.Records) > 0 {
		published, skipped = h.DANE.Records, dane.Skipped(h.DANE.Records)
		fmt.Fprintf(b, "    TLSA base domain: %s", names.Printable(h.DANE.BaseDomain, maxText))
		if h.DANE.BaseDomain != h.DANE.Name {
			fmt.Fprintf(b, ", to which the aliases lead")
		}
		fmt.Fprintln(b)
	}
	for _, record := range published {
		use := "used"
		if at := slices.IndexFunc(skipped, func(s dane.Skip) bool { return sameRecord(s.Record, record) }); at >= 0 {
			use = "not used: " + skipped[at].Reason
		} else if !slices.ContainsFunc(h.TLSA, func(r dane.Record) bool { return sameRecord(r, record) }) {
			use = "usable, but the host is refused"
		}
		fmt.Fprintf(b, "      %s: %s\n", record, use)
	}
	// Names do not count with DANE-EE (RFC 7672 section 3.1.1).
	if slices.ContainsFunc(h.TLSA, func(r dane.Record) bool { return r.Usage == dane.DANETA }) {
		fmt.Fprintf(b, "    a DANE-TA certificate may be for: %s\n", strings.Join(h.ReferenceNames, " "))
	}
	if h.ServerName != "" {
		fmt.Fprintf(b, "    SNI: %s\n", names.Printable(h.ServerName, maxText))
	}
}

func sameRecord(a, b dane.Record) bool {
	return a.Usage == b.Usage && a.Selector == b.Selector && a.MatchingType == b.MatchingType && bytes.Equal(a.Data, b.Data)
}

// texts says what the override changes.
func (o HostOverride) texts() []string {
	var list []string
	if o.NoDANE {
		list = append(list, "DANE is switched off for this host")
	}
	if len(o.Pin) > 0 {
		list = append(list, "TLSA records are pinned for this host")
	}
	if o.Floor != Refused {
		list = append(list, "the level is at least "+o.Floor.String())
	}
	return list
}

// MarshalJSON returns the plan as a JSON object for programs, with the facts that
// Explain writes. Names are in snake case; absent fields are left out. Later
// versions may add fields.
func (p *Plan) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Domain     string        `json:"domain"`
		Options    []string      `json:"options,omitempty"`
		NextHop    string        `json:"next_hop"`
		Via        string        `json:"via,omitempty"`
		MXStatus   dnssec.Status `json:"mx_status"`
		MXAlias    string        `json:"mx_alias,omitempty"`
		ImplicitMX bool          `json:"implicit_mx,omitempty"`
		RequireTLS bool          `json:"require_tls,omitempty"`
		MTASTS     *MTASTS       `json:"mta_sts,omitempty"`
		Hosts      []*Host       `json:"hosts"`
		Expires    time.Time     `json:"expires"`
	}{p.Domain, p.asked.options(), p.NextHop, p.Via, p.MXStatus, p.expansion, p.ImplicitMX, p.RequireTLS, p.MTASTS.present(), p.Hosts, p.Expires.UTC()})
}

// present returns nil if there was no MTA-STS lookup.
func (m *MTASTS) present() *MTASTS {
	if !m.Asked && m.Err == nil || m.off {
		return nil
	}
	return m
}

// MarshalJSON returns the policy in force, or why there is none, as a JSON object.
func (m *MTASTS) MarshalJSON() ([]byte, error) {
	view := struct {
		Mode    mtasts.Mode `json:"mode"`
		ID      string      `json:"id,omitempty"`
		MX      []string    `json:"mx,omitempty"`
		Fetched *time.Time  `json:"fetched,omitempty"`
		Expires *time.Time  `json:"expires,omitempty"`
		Error   string      `json:"error,omitempty"`
	}{Mode: m.Mode(), Error: text(m.Err)}
	if m.Policy != nil {
		fetched, expires := m.Fetched.UTC(), m.Expires.UTC()
		view.ID, view.MX, view.Fetched, view.Expires = m.ID, m.Policy.MX, &fetched, &expires
	}
	return json.Marshal(view)
}

// MarshalJSON writes the host with its level and everything that decided it.
func (h *Host) MarshalJSON() ([]byte, error) {
	view := struct {
		Name               string         `json:"name"`
		Preference         uint16         `json:"preference"`
		Port               uint16         `json:"port"`
		Level              Level          `json:"level"`
		By                 Mechanism      `json:"by"`
		Why                string         `json:"why"`
		RouteAuthenticated bool           `json:"route_authenticated"`
		Addrs              []netip.Addr   `json:"addresses,omitempty"`
		AddrStatus         *dnssec.Status `json:"address_status,omitempty"`
		Aliases            []string       `json:"aliases,omitempty"`
		FailedLookups      []string       `json:"failed_lookups,omitempty"`
		TLSABase           string         `json:"tlsa_base_domain,omitempty"`
		Published          []string       `json:"tlsa_published,omitempty"`
		Used               []string       `json:"tlsa_used,omitempty"`
		Skipped            []string       `json:"tlsa_not_used,omitempty"` // with the reason
		ReferenceNames     []string       `json:"reference_names,omitempty"`
		ServerName         string         `json:"sni,omitempty"`
		Overrides          []string       `json:"overrides,omitempty"`
		Refusal            *Error         `json:"refusal,omitempty"`
	}{
		Name: h.Name, Preference: h.Preference, Port: h.Port, Level: h.Level, By: h.By, Why: h.Why,
		RouteAuthenticated: h.RouteAuthenticated, Addrs: h.Addrs, Used: recordStrings(h.TLSA),
		ReferenceNames: h.ReferenceNames, ServerName: h.ServerName, Overrides: h.override.texts(), Refusal: h.Refusal,
	}
	if h.DANE != nil && !h.plan.literal {
		view.AddrStatus = &h.DANE.AddrStatus
		view.TLSABase = h.DANE.BaseDomain
		view.Published = recordStrings(h.DANE.Records)
		for _, skip := range dane.Skipped(h.DANE.Records) {
			view.Skipped = append(view.Skipped, skip.Record.String()+": "+skip.Reason)
		}
		for _, alias := range h.DANE.Aliases {
			view.Aliases = append(view.Aliases, alias.Target)
		}
		for _, l := range h.DANE.Lookups {
			if l.Err != nil {
				view.FailedLookups = append(view.FailedLookups, oneLine(l.Err.Error()))
			}
		}
	}
	return json.Marshal(view)
}

// MarshalJSON returns the error as a JSON object for programs.
func (e *Error) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Domain     string            `json:"domain,omitempty"`
		Host       string            `json:"host,omitempty"`
		Reason     tlsrpt.ResultType `json:"reason,omitempty"`
		ReasonCode string            `json:"reason_code,omitempty"`
		By         Mechanism         `json:"by"`
		Permanent  bool              `json:"permanent"`
		Reply      int               `json:"reply"`
		Status     string            `json:"status,omitempty"`
		Detail     string            `json:"detail,omitempty"`
		Cause      string            `json:"cause,omitempty"`
	}{e.Domain, e.Host, e.Reason, e.ReasonCode, e.By, e.Permanent, e.Code(), e.Status, e.Detail, text(e.Err)})
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return causeText(err)
}
