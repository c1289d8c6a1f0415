package mtasts

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
)

// Preload looks up domains to which a sender knows that it will write, MaxRefreshes
// at a time, so that an attacker who comes later finds their policies known.
// It is a Lookup of each: those whose policies are in force already cost
// little, and those that are not asked for afterwards run out as others do, so
// a sender that means to keep them calls Preload once a day.
//
// The error joins those of the domains whose policy could not be looked for or
// had, each an [*Error] or wrapping [ErrDomain]; the others were looked up all
// the same. That a domain has no policy is no error. Done ctx ends it.
func (c *Client) Preload(ctx context.Context, domains ...string) error {
	errs := make([]error, len(domains))
	var wg sync.WaitGroup
	room := make(chan struct{}, c.cfg.MaxRefreshes)
	for i, domain := range domains {
		select {
		case room <- struct{}{}:
		case <-ctx.Done():
			wg.Wait()
			return errors.Join(append(errs, ctx.Err())...)
		}
		wg.Go(func() {
			defer func() { <-room }()
			r, err := c.Lookup(ctx, domain)
			errs[i] = errors.Join(err, r.Err)
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// PreloadFile is Preload of the domains in a file: one a line, in A-labels or
// in U-labels of UTF-8. Empty lines do not count, nor does what follows a "#".
func (c *Client) PreloadFile(ctx context.Context, name string) error {
	f, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("mtasts: domains to preload: %w", err)
	}
	defer f.Close()
	domains, err := readDomains(f)
	if err != nil {
		return fmt.Errorf("mtasts: domains to preload: %s: %w", name, err)
	}
	return c.Preload(ctx, domains...)
}

// readDomains returns the domains in r, one a line.
func readDomains(r io.Reader) ([]string, error) {
	var domains []string
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		line, _, _ := strings.Cut(lines.Text(), "#")
		if line = strings.TrimSpace(line); line != "" {
			domains = append(domains, line)
		}
	}
	return domains, lines.Err()
}
