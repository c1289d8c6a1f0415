package tlsrpt

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/mxseal/mxseal/internal/names"
	"github.com/mxseal/mxseal/internal/txtrecord"
	"github.com/mxseal/mxseal/tlsrpt/internal/syntax"
)

var (
	// ErrNoRecord means that a domain does not ask for reports: no TXT record at
	// _smtp._tls begins with "v=TLSRPTv1;" (RFC 8460 section 3).
	ErrNoRecord = errors.New("tlsrpt: no TLSRPT record")
	// ErrBadRecord means that the TLSRPT record of a domain is malformed or has no
	// usable endpoint, or that the domain has several. Such a domain gets no
	// reports either.
	ErrBadRecord = errors.New("tlsrpt: unusable TLSRPT record")
)

// Record is the TXT record at _smtp._tls.DOMAIN, by which a domain asks for
// reports (RFC 8460 section 3).
type Record struct {
	// Endpoints are the addresses for reports, in the order of all rua fields: at
	// least one, without duplicates. A report is delivered when one of them accepts
	// it. Malformed and overlong URIs, URIs of schemes other than mailto and https,
	// and endpoints after the first [MaxEndpoints] are left out.
	Endpoints []Endpoint
}

// Endpoint is an address for reports. Exactly one of its fields is set.
type Endpoint struct {
	// Mail is a mail address, with its domain in A-labels.
	Mail string
	// URL is an https URL, without user and fragment.
	URL string
}

// String returns the URI of the endpoint, in the form that a record has.
func (e Endpoint) String() string {
	if e.Mail != "" {
		return "mailto:" + syntax.PercentEncode(e.Mail, "!#%&/=?^`{|}")
	}
	return e.URL
}

// MaxEndpoints is the greatest number of endpoints of a [Record]. It limits what
// one report costs the sender, and third parties that a domain may name in rua.
const MaxEndpoints = 8

const version = "TLSRPTv1"

// SelectRecord picks the TLSRPT record among the TXT records found at
// _smtp._tls.DOMAIN and parses it. Each string is one record, with its
// character-strings joined without spaces.
//
// Records that do not begin with "v=TLSRPTv1;" are ignored; white space before
// the semicolon is accepted. If no record is left, the error is [ErrNoRecord]. If
// more than one is left, it is [ErrBadRecord] (RFC 8460 section 3).
func SelectRecord(txts []string) (Record, error) {
	switch found, count := txtrecord.Select(txts, version); count {
	case 0:
		return Record{}, ErrNoRecord
	case 1:
		return ParseRecord(found)
	default:
		return Record{}, fmt.Errorf("%w: there are %d", ErrBadRecord, count)
	}
}

// ParseRecord parses one TXT record by the grammar of RFC 8460 section 3.
// Unknown fields that match the grammar are ignored. The URIs of all rua fields
// count. The error is [ErrBadRecord], wrapped with the reason.
func ParseRecord(txt string) (Record, error) {
	fields, ok := txtrecord.Parse(txt, version)
	if !ok {
		return Record{}, fmt.Errorf("%w: it does not begin with \"v=%s;\"", ErrBadRecord, version)
	}
	var endpoints []Endpoint
	for field, ok := fields.Next(); ok; field, ok = fields.Next() {
		name, value, _ := strings.Cut(field, "=")
		switch {
		case name == "rua" && value != "":
			endpoints = appendEndpoints(endpoints, value)
		case !txtrecord.IsExtensionName(name) || !txtrecord.IsExtensionValue(value):
			return Record{}, fmt.Errorf("%w: malformed field %.64q", ErrBadRecord, field)
		}
	}
	if len(endpoints) == 0 {
		return Record{}, fmt.Errorf("%w: no usable mailto or https endpoint in %.255q", ErrBadRecord, txt)
	}
	return Record{Endpoints: endpoints}, nil
}

// appendEndpoints appends the usable endpoints of a tlsrpt-rua that are new. A comma
// in a URI is percent-encoded.
func appendEndpoints(endpoints []Endpoint, rua string) []Endpoint {
	for uri := range strings.SplitSeq(rua, ",") {
		endpoint, ok := parseEndpoint(txtrecord.Trim(uri))
		if ok && !slices.Contains(endpoints, endpoint) && len(endpoints) < MaxEndpoints {
			endpoints = append(endpoints, endpoint)
		}
	}
	return endpoints
}

const (
	// maxAddress is the greatest length of a mail address: a path of 256 octets has
	// two angle brackets (RFC 5321 section 4.5.3.1.3).
	maxAddress = 254
	// maxURI is the length that servers should support (RFC 9110 section 4.1).
	maxURI = 8000
)

func parseEndpoint(uri string) (Endpoint, bool) {
	if len(uri) > maxURI {
		return Endpoint{}, false
	}
	u, err := url.Parse(uri)
	if err != nil || syntax.EscapeURI(uri) != uri || strings.Contains(uri, "!") {
		return Endpoint{}, false
	}
	switch u.Scheme { // in lower case after url.Parse
	case "mailto":
		return parseMailto(u.Opaque)
	case "https":
		if u.Hostname() == "" || u.User != nil {
			return Endpoint{}, false
		}
		u.Fragment, u.RawFragment = "", ""
		return Endpoint{URL: u.String()}, true
	default:
		return Endpoint{}, false
	}
}

// parseMailto parses a mailto URI with one address (RFC 6068). Header fields in it
// are ignored.
func parseMailto(opaque string) (Endpoint, bool) {
	address, err := url.PathUnescape(opaque)
	if err != nil {
		return Endpoint{}, false
	}
	at := strings.LastIndexByte(address, '@')
	if at <= 0 || !syntax.IsDotAtom(address[:at]) {
		return Endpoint{}, false
	}
	domain, err := names.Canonical(address[at+1:])
	address = address[:at+1] + domain
	return Endpoint{Mail: address}, err == nil && len(address) <= maxAddress
}
