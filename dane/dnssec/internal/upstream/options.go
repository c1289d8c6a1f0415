package upstream

import "time"

// Options are how the servers are asked. The zero value means the defaults.
type Options struct {
	// Timeout bounds one attempt at one server. 0 means 3 seconds.
	Timeout time.Duration
	// Attempts is how often each server is asked at most. 0 means 2. All attempts
	// but the first are made over TCP, which passes where large or fragmented
	// datagrams do not.
	Attempts int
	// Rotate begins each question with the next server, so that all servers have
	// the same load.
	Rotate bool
	// UseTCP asks over TCP from the first attempt on.
	UseTCP bool
}

// over returns o, with the fields of other where o has zero values.
func (o Options) over(other Options) Options {
	if o.Timeout <= 0 {
		o.Timeout = other.Timeout
	}
	if o.Attempts <= 0 {
		o.Attempts = other.Attempts
	}
	o.Rotate = o.Rotate || other.Rotate
	o.UseTCP = o.UseTCP || other.UseTCP
	return o
}

// defaults are the values that zero fields of Options mean.
var defaults = Options{Timeout: 3 * time.Second, Attempts: 2}
