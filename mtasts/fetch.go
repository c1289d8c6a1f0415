package mtasts

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/mxseal/mxseal/internal/certcode"
	"github.com/mxseal/mxseal/internal/guarded"
	"github.com/mxseal/mxseal/internal/lack"
	"github.com/mxseal/mxseal/internal/names"
	"github.com/mxseal/mxseal/internal/tally"
	"github.com/mxseal/mxseal/internal/txtrecord"
	"github.com/mxseal/mxseal/mtasts/internal/cause"
	"github.com/mxseal/mxseal/mtasts/internal/turn"
)

const (
	policyHostLabel = "mta-sts."
	policyPort      = "443"
	policyPath      = "/.well-known/mta-sts.txt"

	// maxHeader limits the header of the response, in octets.
	maxHeader = 16 << 10
)

// fetcher fetches policies from policy hosts. It does not trust them: it limits
// what is read and how long that takes.
type fetcher struct {
	dialer  guarded.Dialer
	turns   *turn.Turns // for each registrable domain
	now     func() time.Time
	timeout time.Duration
	events  *notifier
	took    [fetchOutcomes]tally.Histogram // by the fetches so far
}

// fetch fetches the policy of domain (RFC 8461 section 3.3). text is what was
// received if that is not a valid policy, and old the policy in force, which may be nil.
func (f *fetcher) fetch(ctx context.Context, domain string, old *Policy) (p *Policy, text string, err *Error) {
	began, whole := time.Now(), ctx
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	var fail error
	defer func() {
		if whole.Err() != nil {
			return // this side has given up
		}
		outcome := outcomeOf(ctx, fail)
		if p != nil && old != nil && p.Text == old.Text {
			outcome = fetchUnchanged
		}
		f.took[outcome].Add(time.Since(began))
		f.events.fetched(domain, outcome, err)
	}()
	var release func()
	release, fail = f.turns.Take(ctx, names.Registrable(domain))
	if fail != nil {
		return nil, "", fetchError(ctx, domain, fail)
	}
	defer release()
	text, fail = f.get(ctx, policyHostLabel+domain)
	if fail != nil {
		return nil, "", fetchError(ctx, domain, fail)
	}
	p, fail = ParsePolicy(text)
	if errors.As(fail, &err) {
		err.Domain = domain
		return nil, text, err
	}
	return p, "", nil
}

// get requests the policy from host and returns its text.
func (f *fetcher) get(ctx context.Context, host string) (string, error) {
	// The certificate must be valid for that name, even if the name is an alias
	// (RFC 8461 sections 3.3 and 8.2).
	conn, err := f.dialer.DialTLS(ctx, host, policyPort)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	resp, err := request(ctx, conn, host)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if err := checkHeader(resp); err != nil {
		return "", err
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, MaxPolicySize+1))
	if err != nil {
		return "", err
	}
	// Part of a policy is never used: the mx that counts may be in the other part.
	if len(body) > MaxPolicySize {
		return "", failf(KindFetch, "http-too-large", "the policy has more than %d octets", MaxPolicySize)
	}
	return string(body), nil
}

// request requests the policy over conn. It uses a RoundTripper in place of an
// http.Client, so that there are no redirects, cookies, proxies or caches (RFC
// 8461 section 3.3). The connection is made before, because a Transport goes on
// dialing after the time of the request is over.
func request(ctx context.Context, conn net.Conn, host string) (*http.Response, error) {
	transport := &http.Transport{
		DialTLSContext:         func(context.Context, string, string) (net.Conn, error) { return conn, nil },
		DisableKeepAlives:      true,
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxHeader,
	}
	req := &http.Request{
		Method: http.MethodGet,
		URL:    &url.URL{Scheme: "https", Host: host, Path: policyPath},
		// Without Accept-Encoding, a server may choose any coding (RFC 9110 section 12.5.3).
		Header: http.Header{"User-Agent": {"mxseal"}, "Accept": {"text/plain"}, "Accept-Encoding": {"identity"}},
	}
	return transport.RoundTrip(req.WithContext(ctx))
}

// checkHeader accepts only status 200, so no redirect, and the media type
// text/plain, with any parameters (RFC 8461 section 3.3).
func checkHeader(resp *http.Response) error {
	if resp.StatusCode/100 == 3 && resp.StatusCode != http.StatusNotModified {
		return failf(KindFetch, "http-redirect", "HTTP status %d to %s", resp.StatusCode, quote(resp.Header.Get("Location")))
	}
	if resp.StatusCode != http.StatusOK {
		return failf(KindFetch, "http-status-"+strconv.Itoa(resp.StatusCode), "HTTP status %d", resp.StatusCode)
	}
	contentType := resp.Header.Get("Content-Type")
	mediaType, _, _ := strings.Cut(contentType, ";")
	if !names.EqualFold(txtrecord.Trim(mediaType), "text/plain") {
		return failf(KindFetch, "http-media-type", "Content-Type %s", quote(contentType))
	}
	if coding := resp.Header.Get("Content-Encoding"); coding != "" && !names.EqualFold(coding, "identity") {
		return failf(KindFetch, "http-content-encoding", "Content-Encoding %s was not requested", quote(coding))
	}
	return nil
}

// fetchError returns the *Error for what ended a fetch.
func fetchError(ctx context.Context, domain string, err error) *Error {
	var fail *Error
	var dial *guarded.Error
	switch {
	case errors.Is(err, turn.ErrNone):
		fail = &Error{Kind: KindFetch, ReasonCode: "http-busy", Err: turn.ErrNone}
	case lack.Of(err):
		fail = failf(KindFetch, "http-busy", "%w: %s", turn.ErrNone, printable(err.Error()))
	case errors.As(err, &dial):
		fail = dialError(ctx, dial)
	case errors.As(err, &fail):
	case ctx.Err() != nil || cause.IsTimeout(err):
		fail = &Error{Kind: KindFetch, ReasonCode: "http-timeout", Err: err}
	case errors.Is(err, guarded.ErrTruncated), errors.Is(err, io.ErrUnexpectedEOF):
		fail = &Error{Kind: KindFetch, ReasonCode: "http-truncated", Err: err}
	default:
		// Only part of the text is kept: an error of net/http may contain all that
		// a server sent, and errors stay in memory.
		fail = failf(KindFetch, "http-error", "%s", printable(err.Error()))
	}
	fail.Domain = domain
	return fail
}

// dialError returns the error for a failed connection to a policy host.
func dialError(ctx context.Context, failed *guarded.Error) *Error {
	err := failed.Err
	switch {
	case errors.Is(err, guarded.ErrNoAddress):
		return &Error{Kind: KindFetch, ReasonCode: "dns-not-found", Err: err}
	case errors.Is(err, guarded.ErrSpecialAddress):
		return failf(KindFetch, "http-address-refused", "%w, which Config.AllowPolicyHost does not permit", err)
	case failed.Step == guarded.Resolve:
		return &Error{Kind: KindFetch, ReasonCode: printable(cause.DNSReason(err)), Err: err}
	case failed.Step == guarded.Handshake:
		return handshakeError(ctx, err)
	case ctx.Err() != nil || cause.IsTimeout(err):
		return &Error{Kind: KindFetch, ReasonCode: "http-timeout", Err: err}
	default:
		return &Error{Kind: KindFetch, ReasonCode: "http-no-connection", Err: err}
	}
}

// handshakeError returns the error for a failed handshake. A certificate that is
// not valid has a kind of its own, as it has a result type of its own in RFC 8460
// section 4.3.2.2.
func handshakeError(ctx context.Context, err error) *Error {
	var invalid *tls.CertificateVerificationError
	var roots x509.SystemRootsError
	kind, reason := KindFetch, "http-tls-handshake"
	switch {
	case errors.As(err, &roots):
		reason = "no-system-roots"
	case errors.As(err, &invalid):
		err = certcode.Bounded(invalid.Err, invalid.UnverifiedCertificates)
		kind, reason = KindCertificate, cmp.Or(certcode.Of(err), "invalid-certificate")
	case ctx.Err() != nil:
		return &Error{Kind: KindFetch, ReasonCode: "http-timeout", Err: ctx.Err()}
	}
	// Only the text is kept: an error may contain the whole chain, which a server
	// can make large, and errors stay in memory.
	return failf(kind, reason, "%s", printable(err.Error()))
}
