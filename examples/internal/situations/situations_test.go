package situations

import (
	"strings"
	"testing"

	"github.com/mxseal/mxseal/policy/policytest"
)

// Each situation is a subtest, so that one can be run alone.
func TestEachSituationEndsAsExpected(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	trials, err := Build(t.Context(), inet, All(Groups()))
	if err != nil {
		t.Fatal(err)
	}
	for _, trial := range trials {
		t.Run(trial.Domain, func(t *testing.T) {
			t.Parallel()
			if r := trial.Run(t.Context(), SendMail); r.Wrong != nil {
				t.Error(r.Wrong)
			}
		})
	}
}

func TestSituationsHaveDomainsOfTheirOwn(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool)
	for _, s := range All(Groups()) {
		if seen[s.Domain] {
			t.Errorf("%s is used twice", s.Domain)
		}
		seen[s.Domain] = true
	}
}

// Run finds an outcome that differs from the expected one.
func TestWrongOutcomeIsFound(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	wrong := plainDomains()[:1]
	wrong[0].Want.Mail = Authenticated
	wrong[0].also = notConnected("mx." + wrong[0].Domain)
	trials, err := Build(t.Context(), inet, wrong)
	if err != nil {
		t.Fatal(err)
	}
	r := trials[0].Run(t.Context(), SendMail)
	if r.Wrong == nil || !strings.Contains(r.Wrong.Error(), "expected") || !strings.Contains(r.Wrong.Error(), "1 connections") {
		t.Errorf("found wrong: %v", r.Wrong)
	}
}
