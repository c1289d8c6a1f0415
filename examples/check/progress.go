package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"time"
)

// progress tells somebody who waits what is being done. The zero value tells
// nothing.
type progress struct {
	mu     sync.Mutex
	w      io.Writer         // nil: nothing is told, or not yet
	stages map[string]string // by domain
}

// watch tells what is being done from patience on, until it is stopped.
func (p *progress) watch(w io.Writer, patience time.Duration) (stop func()) {
	timer := time.AfterFunc(patience, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.w = w
		for _, domain := range slices.Sorted(maps.Keys(p.stages)) {
			p.tell(domain)
		}
	})
	return func() {
		timer.Stop()
		p.mu.Lock()
		defer p.mu.Unlock()
		p.w = nil
	}
}

// begin notes what is being done for a domain.
func (p *progress) begin(domain, stage string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stages == nil {
		p.stages = make(map[string]string)
	}
	p.stages[domain] = stage
	if p.w != nil {
		p.tell(domain)
	}
}

// done forgets a domain.
func (p *progress) done(domain string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.stages, domain)
}

func (p *progress) tell(domain string) {
	fmt.Fprintf(p.w, "%s: %s ...\n", clean(domain), clean(p.stages[domain]))
}
