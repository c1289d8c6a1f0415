package policy

import (
	"encoding/json"
	"net/netip"
	"time"

	"github.com/mxseal/mxseal/dane"
	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/mtasts"
	"github.com/mxseal/mxseal/tlsrpt"
)

// MarshalJSON writes the plan as an object for programs: what Explain tells, in
// snake case, absent things left out.
func (p *Plan) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Domain     string        `json:"domain"`
		NextHop    string        `json:"next_hop"`
		MXStatus   dnssec.Status `json:"mx_status"`
		ImplicitMX bool          `json:"implicit_mx,omitempty"`
		RequireTLS bool          `json:"require_tls,omitempty"`
		MTASTS     *MTASTS       `json:"mta_sts,omitempty"`
		Hosts      []*Host       `json:"hosts"`
		Expires    time.Time     `json:"expires"`
	}{p.Domain, p.NextHop, p.MXStatus, p.ImplicitMX, p.RequireTLS, p.MTASTS.present(), p.Hosts, p.Expires.UTC()})
}

// present returns nil for MTA-STS that was not asked.
func (m *MTASTS) present() *MTASTS {
	if !m.Asked && m.Err == nil || m.off {
		return nil
	}
	return m
}

// MarshalJSON writes the policy in force, or what kept one from being found.
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
		TLSABase           string         `json:"tlsa_base_domain,omitempty"`
		Published          []string       `json:"tlsa_published,omitempty"`
		Used               []string       `json:"tlsa_used,omitempty"`
		ReferenceNames     []string       `json:"reference_names,omitempty"`
		ServerName         string         `json:"sni,omitempty"`
		Refusal            *Error         `json:"refusal,omitempty"`
	}{
		Name: h.Name, Preference: h.Preference, Port: h.Port, Level: h.Level, By: h.By, Why: h.Why,
		RouteAuthenticated: h.RouteAuthenticated, Addrs: h.Addrs, Used: recordTexts(h.TLSA),
		ReferenceNames: h.ReferenceNames, ServerName: h.ServerName, Refusal: h.Refusal,
	}
	if h.DANE != nil && !h.plan.literal {
		view.AddrStatus = &h.DANE.AddrStatus
		view.TLSABase = h.DANE.BaseDomain
		view.Published = recordTexts(h.DANE.Records)
	}
	return json.Marshal(view)
}

// MarshalJSON writes the error for programs.
func (e *Error) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Domain    string            `json:"domain,omitempty"`
		Host      string            `json:"host,omitempty"`
		Reason    tlsrpt.ResultType `json:"reason,omitempty"`
		Code      string            `json:"code,omitempty"`
		By        Mechanism         `json:"by"`
		Permanent bool              `json:"permanent"`
		Reply     int               `json:"reply"`
		Status    string            `json:"status,omitempty"`
		Detail    string            `json:"detail,omitempty"`
		Cause     string            `json:"cause,omitempty"`
	}{e.Domain, e.Host, e.Reason, e.Code, e.By, e.Permanent, e.Reply(), e.Status, e.Detail, text(e.Err)})
}

func recordTexts(records []dane.Record) []string {
	if len(records) == 0 {
		return nil
	}
	return recordStrings(records)
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return printable(err.Error())
}
