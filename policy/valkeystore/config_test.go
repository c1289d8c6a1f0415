package valkeystore

import (
	"strings"
	"testing"

	"github.com/valkey-io/valkey-go"
)

func TestConfigRefusesWhatIsUnsafe(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*Config){
		"no address":   func(config *Config) { config.Server.InitAddress = nil },
		"cluster":      func(config *Config) { config.Server.InitAddress = []string{"a:1", "b:1"} },
		"tracking":     func(config *Config) { config.Server.ClientTrackingOptions = []string{"OPTIN"} },
		"no caching":   func(config *Config) { config.Server.DisableCache = true },
		"replica":      func(config *Config) { config.Server.ReplicaOnly = true },
		"RESP2":        func(config *Config) { config.Server.AlwaysRESP2 = true },
		"glob":         func(config *Config) { config.Prefix = "mx*" },
		"long prefix":  func(config *Config) { config.Prefix = strings.Repeat("a", 65) },
		"cache size":   func(config *Config) { config.MaxCached = -1 },
		"negative":     func(config *Config) { config.Timeout = -1 },
		"invalidation": func(config *Config) { config.Server.OnInvalidations = func([]valkey.ValkeyMessage) {} },
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
