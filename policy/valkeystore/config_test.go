package valkeystore

import (
	"strings"
	"testing"

	"github.com/valkey-io/valkey-go"
)

func TestConfig(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*Config){
		"no address":   func(cfg *Config) { cfg.Server.InitAddress = nil },
		"cluster":      func(cfg *Config) { cfg.Server.InitAddress = []string{"a:1", "b:1"} },
		"tracking":     func(cfg *Config) { cfg.Server.ClientTrackingOptions = []string{"OPTIN"} },
		"no caching":   func(cfg *Config) { cfg.Server.DisableCache = true },
		"replica":      func(cfg *Config) { cfg.Server.ReplicaOnly = true },
		"RESP2":        func(cfg *Config) { cfg.Server.AlwaysRESP2 = true },
		"glob":         func(cfg *Config) { cfg.Prefix = "mx*" },
		"long prefix":  func(cfg *Config) { cfg.Prefix = strings.Repeat("a", 65) },
		"cache size":   func(cfg *Config) { cfg.MaxCached = -1 },
		"negative":     func(cfg *Config) { cfg.Timeout = -1 },
		"invalidation": func(cfg *Config) { cfg.Server.OnInvalidations = func([]valkey.ValkeyMessage) {} },
	} {
		s, err := New(at("127.0.0.1:1", change))
		if err == nil {
			s.Close()
			t.Errorf("%s: no error", name)
		} else if !strings.HasPrefix(err.Error(), "valkeystore: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
