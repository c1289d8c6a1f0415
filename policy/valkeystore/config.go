package valkeystore

import (
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/valkey-io/valkey-go"
)

const (
	defaultPrefix    = "mxseal:"
	defaultMaxCached = 16384
	defaultTimeout   = time.Second

	// sentinelRefresh is how often Sentinels are asked for the primary server,
	// in case their message about a new one was missed.
	sentinelRefresh = 5 * time.Second
)

// Config says where the server is, and what a [Store] keeps there. Only Server
// is required.
type Config struct {
	// Server is how to reach the server: one address in InitAddress, or those
	// of Sentinels with Sentinel.MasterSet; TLSConfig; Username and Password.
	// [valkey.ParseURL] makes one. Without a TLSConfig everything is sent in the
	// clear, the password too. Clusters are not supported: all policies of the
	// Internet fit on one server.
	//
	// Timeouts that are zero follow Timeout. What concerns client-side caching,
	// replicas and RESP2 must be left alone.
	Server valkey.ClientOption
	// Prefix begins the names of all keys. Stores with the same one share. It
	// consists of letters, digits and "-_.:/{}", at most 64. Empty means
	// "mxseal:".
	Prefix string
	// MaxCached bounds the entries that are kept in memory. The least recently
	// used go first; those of more than 8 KiB are not kept. 0 means 16384.
	MaxCached int
	// Timeout bounds one call of the server. A server that does not answer for
	// so long is not asked again until it does. 0 means a second.
	Timeout time.Duration
	// Now is the clock. nil is time.Now.
	Now func() time.Time
}

var prefixForm = regexp.MustCompile(`^[-A-Za-z0-9_.:/{}]{1,64}$`)

// withDefaults returns cfg with the zero fields set.
func (cfg Config) withDefaults() (Config, error) {
	if cfg.Prefix == "" {
		cfg.Prefix = defaultPrefix
	}
	if cfg.MaxCached == 0 {
		cfg.MaxCached = defaultMaxCached
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = defaultTimeout
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	switch {
	case cfg.MaxCached < 0 || cfg.Timeout < 0:
		return cfg, errors.New("valkeystore: MaxCached and Timeout must not be negative")
	case !prefixForm.MatchString(cfg.Prefix):
		return cfg, fmt.Errorf("valkeystore: Prefix %.80q has other characters than letters, digits and -_.:/{}, or more than 64", cfg.Prefix)
	}
	return cfg, checkServer(cfg.Server)
}

// checkServer refuses what would break the promises of a Store.
func checkServer(o valkey.ClientOption) error {
	switch {
	case len(o.InitAddress) == 0:
		return errors.New("valkeystore: Server.InitAddress is empty: set the address of the server")
	case len(o.InitAddress) > 1 && o.Sentinel.MasterSet == "":
		return errors.New("valkeystore: Server.InitAddress has several addresses, which needs Sentinel.MasterSet: clusters are not supported")
	case o.ClientTrackingOptions != nil, o.OnInvalidations != nil, o.NewCacheStoreFn != nil, o.DisableCache:
		return errors.New("valkeystore: client-side caching is the Store's own: leave ClientTrackingOptions, OnInvalidations, NewCacheStoreFn and DisableCache alone")
	case o.ReplicaOnly, o.SendToReplicas != nil, len(o.Standalone.ReplicaAddress) > 0:
		return errors.New("valkeystore: only the primary server is used: leave ReplicaOnly, SendToReplicas and Standalone.ReplicaAddress alone")
	case o.AlwaysRESP2, o.DisableAutoPipelining:
		return errors.New("valkeystore: the server pushes changes: leave AlwaysRESP2 and DisableAutoPipelining alone")
	}
	return nil
}

// options returns what is passed to the client library.
func (cfg Config) options(tracked string, changed func([]valkey.ValkeyMessage)) valkey.ClientOption {
	o := cfg.Server
	o.ForceSingleClient = o.Sentinel.MasterSet == ""
	// One connection: what has changed before a reply was made is told before
	// that, so who gets a lease sees what was put under the one before.
	o.PipelineMultiplex = -1
	o.ClientTrackingOptions = []string{"BCAST", "PREFIX", tracked}
	o.OnInvalidations = changed
	o.DisableRetry = true // the caller has better to do than to wait
	if o.ClientSetInfo == nil {
		o.ClientSetInfo = valkey.DisableClientSetInfo // one permission less to give
	}
	for _, timeout := range []*time.Duration{&o.Dialer.Timeout, &o.Sentinel.Dialer.Timeout, &o.ConnWriteTimeout} {
		if *timeout == 0 {
			*timeout = cfg.Timeout
		}
	}
	if !o.ForceSingleClient && o.Sentinel.TopologyRefreshInterval == 0 {
		o.Sentinel.TopologyRefreshInterval = sentinelRefresh
	}
	return o
}
