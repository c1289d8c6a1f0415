package policy_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/mxseal/mxseal/internal/test/seed"
	"github.com/mxseal/mxseal/mtasts"
	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/policytest"
)

// everyOption has calls of each exported function that returns an Option, by its name.
var everyOption = map[string][]policy.Option{
	"AtLeast":     {policy.AtLeast(policy.Opportunistic), policy.AtLeast(policy.Encrypted), policy.AtLeast(policy.Authenticated)},
	"RequireTLS":  {policy.RequireTLS()},
	"TLSOptional": {policy.TLSOptional()},
	"Report":      {policy.Report()},
	"Bounce":      {policy.Bounce()},
	"Via": {
		policy.Via("[relay.smart.example]:587"), policy.Via("[relay.smart.example]"), policy.Via("smart.example"),
		policy.Via("enforced.example"), policy.Via("[192.0.2.44]"),
	},
	"Login":    {policy.Login()},
	"IPv4Only": {policy.IPv4Only()},
	"IPv6Only": {policy.IPv6Only()},
}

// excluding has an option and one that a call cannot have with it.
var excluding = map[string]string{"IPv6Only": "IPv4Only"}

// Every option is part of the plan's key (decision "Via"): whatever options two calls have,
// in whatever order, plans with equal keys demand the same. Each plan comes from a
// Resolver of its own, because plans with equal keys are shared.
func TestEveryOptionIsInTheKey(t *testing.T) {
	t.Parallel()
	if got, want := slices.Sorted(maps.Keys(everyOption)), exportedOptions(t); !slices.Equal(got, want) {
		t.Fatalf("the test knows the options %q; there are %q", got, want)
	}
	inet := policytest.New(t)
	inet.Domain("smart.example").MX("relay.smart.example")
	inet.Host("relay.smart.example", policytest.TLSA("3 1 1"), policytest.Addrs("192.0.2.40", "2001:db8::40"))
	inet.Domain("enforced.example", policytest.Unsigned).MX("mx.enforced.example").Policy("enforce", "mx.enforced.example")
	inet.Host("mx.enforced.example", policytest.Addrs("192.0.2.41", "2001:db8::41"))
	inet.Domain("dane.example").MX("mx.dane.example", "mx2.dane.example")
	inet.Host("mx.dane.example", policytest.TLSA("3 1 1"), policytest.Addrs("192.0.2.42", "2001:db8::42"))
	inet.Host("mx2.dane.example", policytest.TLSA("9 9 9 00"), policytest.Addrs("192.0.2.43"))
	inet.Domain("plain.example", policytest.Unsigned).MX("mx.plain.example")
	inet.Host("mx.plain.example", policytest.Addrs("192.0.2.44", "2001:db8::44"))
	policies, err := mtasts.New(inet.MTASTSConfig())
	if err != nil {
		t.Fatal(err)
	}
	defer policies.Close()
	dns := inet.DNS()

	random := seed.Rand(t)
	for _, floor := range []policy.Level{policy.Opportunistic, policy.Encrypted} {
		demands := map[string]string{} // by key
		calls := map[string]string{}
		for range 1500 {
			domain := []string{"dane.example", "plain.example", "enforced.example"}[random.IntN(3)]
			options, names := randomOptions(random)
			r := resolver(t, inet, func(c *policy.Config) { c.DNS, c.MTASTS, c.Floor = dns, policies, floor })
			plan, err := r.Resolve(t.Context(), domain, options...)
			r.Close()
			call := domain + " " + strings.Join(names, " ")
			if err != nil { // Login without a named host
				if !slices.Contains(names, "Login") {
					t.Errorf("%s: %v", call, err)
				}
				continue
			}
			key, demand := plan.Key(), demanded(plan)
			if other, known := demands[key]; known && other != demand {
				t.Errorf("the key %q is that of two plans:\n%s: %s\n%s: %s", key, calls[key], other, call, demand)
			}
			demands[key], calls[key] = demand, call
		}
		if len(demands) < 100 {
			t.Errorf("only %d keys were seen", len(demands))
		}
	}
}

// randomOptions returns options in any order, some of them twice.
func randomOptions(random *rand.Rand) (options []policy.Option, names []string) {
	chosen := map[string]policy.Option{}
	for _, name := range slices.Sorted(maps.Keys(everyOption)) {
		if calls := everyOption[name]; random.IntN(3) == 0 && chosen[excluding[name]] == nil {
			chosen[name] = calls[random.IntN(len(calls))]
		}
	}
	for _, name := range slices.Sorted(maps.Keys(chosen)) {
		for range 1 + random.IntN(2) {
			options, names = append(options, chosen[name]), append(names, name)
		}
	}
	random.Shuffle(len(options), func(i, j int) {
		options[i], options[j] = options[j], options[i]
		names[i], names[j] = names[j], names[i]
	})
	return options, names
}

// demanded is everything that a plan demands of a client.
func demanded(plan *policy.Plan) string {
	text := fmt.Sprint(plan.Domain, plan.NextHop, plan.Via, plan.MXStatus, plan.RequireTLS, plan.Bounce, plan.Login)
	for _, host := range plan.Hosts {
		text += fmt.Sprintf("; %s:%d %v by %v, route %v, at %v, TLSA %v", host.Name, host.Port, host.Level, host.By, host.RouteAuthenticated, host.Addrs, host.TLSA)
	}
	return text
}

// exportedOptions returns the names of the exported functions that return an Option.
func exportedOptions(t *testing.T) []string {
	t.Helper()
	files, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, file := range files {
		if !strings.HasSuffix(file.Name(), ".go") || strings.HasSuffix(file.Name(), "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file.Name(), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range parsed.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok || f.Recv != nil || !f.Name.IsExported() || f.Type.Results == nil {
				continue
			}
			if result, ok := f.Type.Results.List[0].Type.(*ast.Ident); ok && result.Name == "Option" {
				names = append(names, f.Name.Name)
			}
		}
	}
	slices.Sort(names)
	return names
}
