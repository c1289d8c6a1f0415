package delivery_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/mxseal/mxseal/internal/test/imports"
)

// The package uses only what package policy exports, like any program with an SMTP
// client of its own. It must not reach behind it, to DNS or to policies.
func TestOnlyExportedAPIIsUsed(t *testing.T) {
	t.Parallel()
	allowed := []string{
		"github.com/mxseal/mxseal/policy", "github.com/mxseal/mxseal/tlsrpt", "github.com/mxseal/mxseal/internal/names",
		"github.com/mxseal/mxseal/internal/tlsalert",
		"github.com/mxseal/mxseal/policy/delivery/internal/message", "github.com/mxseal/mxseal/policy/delivery/internal/wire",
		"github.com/mxseal/mxseal/policy/delivery/internal/dsn", "github.com/mxseal/mxseal/policy/delivery/internal/conversation",
		"github.com/mxseal/mxseal/policy/delivery/internal/handover", "github.com/mxseal/mxseal/policy/delivery/internal/login",
		"github.com/mxseal/mxseal/policy/delivery/internal/parking", "github.com/mxseal/mxseal/policy/delivery/internal/limits",
		"github.com/mxseal/mxseal/policy/delivery/internal/pipelining",
	}
	files := imports.Of(t, ".", func(file, path string) {
		first, _, _ := strings.Cut(path, "/")
		if standard := !strings.Contains(first, "."); !standard && !slices.Contains(allowed, path) {
			t.Errorf("%s imports %s", file, path)
		}
	})
	if files == 0 {
		t.Error("no file was read")
	}
}
