package reporter

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"net"
	"net/http"

	"github.com/mxseal/mxseal/internal/guarded"
)

// maxResponseHeader limits the header of a response, in octets.
const maxResponseHeader = 16 << 10

// poster delivers reports to https endpoints, but not to hosts in the sender's own
// network.
type poster struct{ dialer guarded.Dialer }

// post sends a compressed report (RFC 8460 section 5.4). The connection is
// established first, because a Transport continues to dial after the context of the
// request is done.
func (p *poster) post(ctx context.Context, url string, gzip []byte) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(gzip))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/tlsrpt+gzip")
	request.Header.Set("User-Agent", "mxseal")
	conn, err := p.dialer.DialTLS(ctx, request.URL.Hostname(), cmp.Or(request.URL.Port(), "443"))
	if err != nil {
		return err
	}
	defer conn.Close()
	// A RoundTripper follows no redirects and has no cookies. This one uses no proxy
	// either.
	transport := &http.Transport{
		DialTLSContext:         func(context.Context, string, string) (net.Conn, error) { return conn, nil },
		DisableKeepAlives:      true,
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxResponseHeader,
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode/100 != 2 {
		return fmt.Errorf("HTTP status %d", response.StatusCode)
	}
	return nil
}
