package mutate

import (
	_ "embed"
	"fmt"
	"strings"
)

// Targets returns the files that decide security.
func Targets() []Target {
	const (
		proof    = "dane/dnssec/internal/proof/"
		upstream = "dane/dnssec/internal/upstream/"
	)
	return []Target{
		{
			Files: []string{"policy/internal/decision/decide.go"},
			Tests: []string{"policy/internal/decision"},
		},
		{
			Files: in("dane/", "verify", "path", "usable", "match", "names", "constraints"),
			Tests: []string{"dane"},
		},
		{
			Files: in(proof, "denial", "nsec", "nsec3", "signature", "types", "rrset", "section", "budget", "key", "alias"),
			Tests: []string{proof, "dane/dnssec"},
		},
		{
			Files: in("dane/dnssec/", "chain", "judge", "lookup", "message", "trusting"),
			Tests: []string{"dane/dnssec"},
		},
		{
			Files: in(upstream, "serverlist", "order"),
			Tests: []string{upstream, "dane/dnssec"},
		},
		{
			Files: in("mtasts/", "policy", "record", "state", "trust", "restore", "fetch", "match", "lookup"),
			Tests: []string{"mtasts"},
		},
		{
			Files: in("mtasts/internal/policytext/", "policytext"),
			Tests: []string{"mtasts"},
		},
		{
			Files: in("policy/", "host"),
			Tests: []string{"policy"},
		},
		{
			Files: in("policy/postfix/", "candidate", "demand", "loss", "policy", "write"),
			Tests: []string{"policy/postfix"},
		},
		{
			Files: in("policy/delivery/internal/conversation/", "conversation", "replies", "reuse", "tickets", "tlsconfig"),
			Tests: []string{"policy/delivery/internal/conversation", "policy/delivery"},
		},
		{
			Files: in("tlsrpt/reporter/internal/sums/", "tally", "canonical"),
			Tests: []string{"tlsrpt/reporter/internal/sums", "tlsrpt/reporter"},
		},
	}
}

// in returns the Go files of a directory.
func in(dir string, names ...string) []string {
	files := make([]string, len(names))
	for i, name := range names {
		files[i] = dir + name + ".go"
	}
	return files
}

//go:embed survivors.txt
var survivors string

// Survivors returns the keys of the mutants that change nothing that matters, with the
// reasons.
func Survivors() (map[string]string, error) {
	list := make(map[string]string)
	key := ""
	for line := range strings.Lines(survivors) {
		line = strings.TrimRight(line, "\n")
		reason, indented := strings.CutPrefix(line, "\t")
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
		case !indented:
			key = line
			list[key] = ""
		case key == "":
			return nil, fmt.Errorf("mutate: survivors.txt begins with a reason: %q", line)
		default:
			list[key] = strings.TrimSpace(list[key] + " " + reason)
		}
	}
	for key, reason := range list {
		if reason == "" {
			return nil, fmt.Errorf("mutate: survivors.txt has no reason for %q", key)
		}
	}
	return list, nil
}
