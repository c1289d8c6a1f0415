package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"time"
)

// progress prints what is being done. The zero value prints nothing.
type progress struct {
	mu     sync.Mutex
	w      io.Writer         // nil while nothing is to be printed
	stages map[string]string // by domain
}

// watch prints what is being done after patience has passed, until stop is
// called.
func (p *progress) watch(w io.Writer, patience time.Duration) (stop func()) {
	timer := time.AfterFunc(patience, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.w = w
		for _, domain := range slices.Sorted(maps.Keys(p.stages)) {
			p.print(domain)
		}
	})
	return func() {
		timer.Stop()
		p.mu.Lock()
		defer p.mu.Unlock()
		p.w = nil
	}
}

// begin sets the current stage of a domain.
func (p *progress) begin(domain, stage string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stages == nil {
		p.stages = make(map[string]string)
	}
	p.stages[domain] = stage
	if p.w != nil {
		p.print(domain)
	}
}

// done removes a domain.
func (p *progress) done(domain string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.stages, domain)
}

func (p *progress) print(domain string) {
	fmt.Fprintf(p.w, "%s: %s ...\n", clean(domain), clean(p.stages[domain]))
}
