package cli

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"time"
)

// Progress prints what is being done. The zero value prints nothing.
type Progress struct {
	mu     sync.Mutex
	w      io.Writer         // nil while nothing is to be printed
	stages map[string]string // by domain
}

// Watch prints what is being done after env.Patience has passed, until stop is called. If
// standard error is no terminal, it prints nothing.
func (p *Progress) Watch(env *Env) (stop func()) {
	if !env.Terminal {
		return func() {}
	}
	timer := time.AfterFunc(env.Patience, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.w = env.Stderr
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

// Begin sets the current stage of a domain.
func (p *Progress) Begin(domain, stage string) {
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

// Done removes a domain.
func (p *Progress) Done(domain string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.stages, domain)
}

func (p *Progress) print(domain string) {
	fmt.Fprintf(p.w, "%s: %s ...\n", Clean(domain), Clean(p.stages[domain]))
}
