package mtasts

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	policyHostLabel = "mta-sts."
	policyPath      = "/.well-known/mta-sts.txt"

	// maxHeader bounds the header of the response, in octets.
	maxHeader = 16 << 10
)

// fetcher gets policies from policy hosts. It trusts a policy host with
// nothing: it bounds what is read and how long it takes.
type fetcher struct {
	dialer  *dialer
	timeout time.Duration
}

// fetch gets the policy of domain (RFC 8461 section 3.3). The error is an
// *Error; text is what was received if it is no valid policy.
func (f *fetcher) fetch(ctx context.Context, domain string) (p *Policy, text string, err *Error) {
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	text, fail := f.get(ctx, policyHostLabel+domain)
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
	conn, err := f.dialer.dialTLS(ctx, host)
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
	// A policy is never used in part: what was cut off may be the mx that counts.
	if len(body) > MaxPolicySize {
		return "", failf(KindFetch, "too-large", "the policy has more than %d octets", MaxPolicySize)
	}
	return string(body), nil
}

// request asks for the policy over conn. It uses a RoundTripper, not an
// http.Client, for that follows no redirects and keeps no cookies; this one
// knows neither proxies nor an HTTP cache. The connection is made beforehand,
// because a Transport lets its dialling go on after the request's time is up.
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
		Header: http.Header{"User-Agent": {"mxseal"}},
	}
	return transport.RoundTrip(req.WithContext(ctx))
}

// checkHeader accepts nothing but status 200, which rules out redirects, and
// the media type text/plain, whatever its parameters.
func checkHeader(resp *http.Response) error {
	if resp.StatusCode/100 == 3 && resp.StatusCode != http.StatusNotModified {
		return failf(KindFetch, "redirect", "HTTP status %d to %s", resp.StatusCode, quote(resp.Header.Get("Location")))
	}
	if resp.StatusCode != http.StatusOK {
		return failf(KindFetch, "http-status-"+strconv.Itoa(resp.StatusCode), "HTTP status %d", resp.StatusCode)
	}
	contentType := resp.Header.Get("Content-Type")
	mediaType, _, _ := strings.Cut(contentType, ";")
	if !equalFold(trimLeft(trimRight(mediaType)), "text/plain") {
		return failf(KindFetch, "media-type", "Content-Type %s", quote(contentType))
	}
	if coding := resp.Header.Get("Content-Encoding"); coding != "" && !equalFold(coding, "identity") {
		return failf(KindFetch, "content-encoding", "Content-Encoding %s was not asked for", quote(coding))
	}
	return nil
}

// fetchError makes an *Error of whatever ended a fetch.
func fetchError(ctx context.Context, domain string, err error) *Error {
	var fail *Error
	switch {
	case errors.As(err, &fail):
	case ctx.Err() != nil || isTimeout(err):
		fail = &Error{Kind: KindFetch, ReasonCode: "timeout", Err: err}
	case errors.Is(err, errTruncated), errors.Is(err, io.ErrUnexpectedEOF):
		fail = &Error{Kind: KindFetch, ReasonCode: "truncated", Err: err}
	default:
		// The text alone is kept, in part: an error of net/http may hold all that
		// a server sent, and errors are remembered.
		fail = failf(KindFetch, "http", "%s", printable(err.Error()))
	}
	fail.Domain = domain
	return fail
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

func failf(kind Kind, reason, format string, args ...any) *Error {
	return &Error{Kind: kind, ReasonCode: reason, Err: fmt.Errorf(format, args...)}
}
