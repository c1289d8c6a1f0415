package conversation

import (
	"strings"
	"testing"

	"github.com/mxseal/mxseal/policy/delivery/internal/wire"
)

func TestGreetingName(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"mx.example.net ESMTP":  "mx.example.net",
		"mx.example.net":        "mx.example.net",
		"***********":           "",
		"<script>":              "",
		"":                      "",
		strings.Repeat("a", 64): "",
	} {
		if got := greetingName(wire.Reply{Code: 220, Lines: []string{text}}); got != want {
			t.Errorf("greetingName(%q) = %q", text, got)
		}
	}
}
