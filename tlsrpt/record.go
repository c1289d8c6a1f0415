package tlsrpt

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/mxseal/mxseal/internal/grammar"
)

var (
	// ErrNoRecord says that a domain wants no reports: none of the TXT records
	// at _smtp._tls begins with "v=TLSRPTv1;" (RFC 8460 section 3).
	ErrNoRecord = errors.New("tlsrpt: no TLSRPT record")
	// ErrBadRecord says that the TLSRPT record of a domain cannot be used, or
	// that it has several. Such a domain gets no reports either.
	ErrBadRecord = errors.New("tlsrpt: unusable TLSRPT record")
)

// Record is the TXT record at _smtp._tls.DOMAIN, by which the domain asks for
// reports (RFC 8460 section 3).
type Record struct {
	// Endpoints is where reports go, as rua lists it: at least one, each once.
	// One that accepts a report is enough. URIs of other schemes than mailto and
	// https are left out, and so are malformed ones and those after the eighth.
	Endpoints []Endpoint
}

// Endpoint takes reports. One of its fields is set.
type Endpoint struct {
	// Mail is a mail address, its domain in A-labels.
	Mail string
	// URL is of the https scheme, without user and fragment.
	URL string
}

// String returns the URI of the endpoint, as a record may have it.
func (e Endpoint) String() string {
	if e.Mail != "" {
		return "mailto:" + percentEncode(e.Mail, "!#%&/=?^`{|}")
	}
	return e.URL
}

const (
	version = "TLSRPTv1"

	// maxEndpoints bounds what one report costs the sender, and others to whom
	// the domain may point.
	maxEndpoints = 8
)

// SelectRecord picks the TLSRPT record among the TXT records found at
// _smtp._tls.DOMAIN and parses it. Each string is one record, with its
// character-strings joined without spaces.
//
// Records that do not begin with "v=TLSRPTv1;" are dropped first; white space
// before the semicolon is tolerated. If nothing is left the error is
// [ErrNoRecord], and if more than one is, [ErrBadRecord] (RFC 8460 section 3).
func SelectRecord(txts []string) (Record, error) {
	var found string
	count := 0
	for _, txt := range txts {
		if claimsVersion(txt) {
			found = txt
			count++
		}
	}
	switch count {
	case 0:
		return Record{}, ErrNoRecord
	case 1:
		return ParseRecord(found)
	default:
		return Record{}, fmt.Errorf("%w: there are %d", ErrBadRecord, count)
	}
}

// claimsVersion reports whether txt begins with `v=TLSRPTv1` *WSP `;`.
func claimsVersion(txt string) bool {
	rest, ok := strings.CutPrefix(txt, "v="+version)
	return ok && strings.HasPrefix(trim(rest), ";")
}

// ParseRecord parses one TXT record by the grammar of RFC 8460 section 3.
// Unknown fields that fit the grammar are ignored, and so is every rua after the
// first. The error is [ErrBadRecord], wrapped in what is wrong.
func ParseRecord(txt string) (Record, error) {
	head, rest, delimited := strings.Cut(txt, ";")
	if strings.TrimRight(head, whiteSpace) != "v="+version {
		return Record{}, fmt.Errorf("%w: it does not begin with \"v=%s;\"", ErrBadRecord, version)
	}
	rua := ""
	for delimited {
		var field string
		field, rest, delimited = strings.Cut(rest, ";")
		field = strings.TrimLeft(field, whiteSpace)
		if delimited {
			field = strings.TrimRight(field, whiteSpace)
		} else if field == "" {
			break // the optional last delimiter
		}
		name, value, _ := strings.Cut(field, "=")
		switch {
		case name == "rua" && rua == "" && value != "":
			rua = value
		case name == "rua" && value != "": // the first one counts
		case !grammar.IsExtensionName(name) || !grammar.IsExtensionValue(value):
			return Record{}, fmt.Errorf("%w: malformed field %.64q", ErrBadRecord, field)
		}
	}
	endpoints := parseRUA(rua)
	if len(endpoints) == 0 {
		return Record{}, fmt.Errorf("%w: no endpoint of mailto or https in rua=%.64q", ErrBadRecord, rua)
	}
	return Record{Endpoints: endpoints}, nil
}

// parseRUA returns the usable endpoints of a tlsrpt-rua. A comma in a URI is
// percent-encoded.
func parseRUA(rua string) []Endpoint {
	var endpoints []Endpoint
	for uri := range strings.SplitSeq(rua, ",") {
		endpoint, ok := parseEndpoint(trim(uri))
		if ok && !slices.Contains(endpoints, endpoint) && len(endpoints) < maxEndpoints {
			endpoints = append(endpoints, endpoint)
		}
	}
	return endpoints
}

func parseEndpoint(uri string) (Endpoint, bool) {
	u, err := url.Parse(uri)
	if err != nil || escapeURI(uri) != uri || strings.Contains(uri, "!") {
		return Endpoint{}, false
	}
	switch u.Scheme { // which url.Parse has in lower case
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

// parseMailto reads a URI with one address (RFC 6068). Header fields that it
// may have are not for reports.
func parseMailto(opaque string) (Endpoint, bool) {
	address, err := url.PathUnescape(opaque)
	if err != nil {
		return Endpoint{}, false
	}
	at := strings.LastIndexByte(address, '@')
	if at <= 0 || !isDotAtom(address[:at]) {
		return Endpoint{}, false
	}
	domain := canonicalName(address[at+1:])
	return Endpoint{Mail: address[:at+1] + domain}, domain != ""
}

// whiteSpace is WSP of RFC 5234.
const whiteSpace = " \t"

func trim(s string) string { return strings.Trim(s, whiteSpace) }
