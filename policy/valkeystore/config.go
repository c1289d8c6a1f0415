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

	// sentinelRefresh is how often the Sentinels are asked for the primary
	// server, in case their message about a new one was lost.
	sentinelRefresh = 5 * time.Second
)

// Config configures a [Store]. Only Server is required. New reads a Config once, and
// returns an error if a number is negative.
type Config struct {
	// Server contains the address, TLS configuration and credentials of the
	// server. InitAddress contains one address, or those of several Sentinels
	// if Sentinel.MasterSet is set. [valkey.ParseURL] returns a suitable value.
	// If TLSConfig is nil, all data, including the password, is sent in
	// cleartext. Clusters are not supported.
	//
	// Timeouts of 0 in it mean Config.Timeout. The fields for client-side caching,
	// replicas and RESP2 must not be set.
	Server valkey.ClientOption
	// Prefix is the prefix of all keys. Stores with the same prefix share their
	// data. It can contain letters, digits and "-_.:/{}", at most 64. Empty
	// means "mxseal:".
	Prefix string
	// MaxCached limits the number of entries in memory. If there are more, the
	// least recently used one is removed. Policies of more than 8 KiB are not
	// kept in memory. Eight times as many domains without an entry are remembered, with
	// about 40 octets each. 0 means 16384.
	MaxCached int
	// Timeout limits each call to the server. After a timeout, calls fail at
	// once until the server answers again. 0 means one second.
	Timeout time.Duration
	// Now is the clock. nil means time.Now.
	Now func() time.Time
}

var prefixForm = regexp.MustCompile(`^[-A-Za-z0-9_.:/{}]{1,64}$`)

// withDefaults returns config with the zero fields set.
func (config Config) withDefaults() (Config, error) {
	if config.Prefix == "" {
		config.Prefix = defaultPrefix
	}
	if config.MaxCached == 0 {
		config.MaxCached = defaultMaxCached
	}
	if config.Timeout == 0 {
		config.Timeout = defaultTimeout
	}
	if config.Now == nil {
		config.Now = time.Now
	}
	switch {
	case config.MaxCached < 0 || config.Timeout < 0:
		return config, errors.New("valkeystore: Config.MaxCached and Timeout must not be negative; 0 means the default")
	case !prefixForm.MatchString(config.Prefix):
		return config, fmt.Errorf("valkeystore: Config.Prefix %.80q must have 1 to 64 letters, digits and characters of -_.:/{}", config.Prefix)
	}
	return config, checkServer(config.Server)
}

// checkServer rejects options that a Store does not work with.
func checkServer(o valkey.ClientOption) error {
	switch {
	case len(o.InitAddress) == 0:
		return errors.New("valkeystore: Config.Server.InitAddress is empty; set the address of the server")
	case len(o.InitAddress) > 1 && o.Sentinel.MasterSet == "":
		return errors.New("valkeystore: Config.Server.InitAddress has several addresses; set Sentinel.MasterSet, because clusters are not supported")
	case o.ClientTrackingOptions != nil, o.OnInvalidations != nil, o.NewCacheStoreFn != nil, o.DisableCache:
		return errors.New("valkeystore: the Store manages client-side caching; in Config.Server, do not set ClientTrackingOptions, OnInvalidations, NewCacheStoreFn or DisableCache")
	case o.ReplicaOnly, o.SendToReplicas != nil, len(o.Standalone.ReplicaAddress) > 0:
		return errors.New("valkeystore: only the primary server is used; in Config.Server, do not set ReplicaOnly, SendToReplicas or Standalone.ReplicaAddress")
	case o.AlwaysRESP2, o.DisableAutoPipelining:
		return errors.New("valkeystore: change notices need RESP3 and pipelining; in Config.Server, do not set AlwaysRESP2 or DisableAutoPipelining")
	}
	return nil
}

// options returns the options of the client library.
func (config Config) options(tracked string, changed func([]valkey.ValkeyMessage)) valkey.ClientOption {
	o := config.Server
	o.ForceSingleClient = o.Sentinel.MasterSet == ""
	// There must be one connection only. Then notices of changes arrive before
	// the replies to later commands, and the new holder of a lease sees what
	// the previous one has put.
	o.PipelineMultiplex = -1
	o.ClientTrackingOptions = []string{"BCAST", "PREFIX", tracked}
	o.OnInvalidations = changed
	o.DisableRetry = true // callers prefer a quick error
	if o.ClientSetInfo == nil {
		o.ClientSetInfo = valkey.DisableClientSetInfo // needs no permission for CLIENT SETINFO
	}
	for _, timeout := range []*time.Duration{&o.Dialer.Timeout, &o.Sentinel.Dialer.Timeout, &o.ConnWriteTimeout} {
		if *timeout == 0 {
			*timeout = config.Timeout
		}
	}
	if !o.ForceSingleClient && o.Sentinel.TopologyRefreshInterval == 0 {
		o.Sentinel.TopologyRefreshInterval = sentinelRefresh
	}
	return o
}
