package postfix

import (
	"os"
	"strings"
	"testing"

	"github.com/mxseal/mxseal/policy"
)

// The table in docs/vectors.md of what each policy means for a host is what the candidates say.
func TestTableInVectorsPage(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/vectors.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, found := strings.Cut(string(page), "| the plan demands |")
	if !found {
		t.Fatal("there is no table")
	}
	rows := make(map[string][]string)
	for line := range strings.Lines(table) {
		cells := strings.Split(strings.TrimSpace(line), " | ")
		if !strings.HasPrefix(line, "|") || strings.HasPrefix(line, "|---") {
			if len(rows) > 0 {
				break
			}
			continue
		}
		rows[strings.TrimPrefix(cells[0], "| ")] = cells[1:]
	}
	host := new(policy.Host)
	both := demand{host: host, kind: byBoth, insecureMX: true, enforced: true}
	demands := map[string][]demand{
		"nothing":                               {{host: host, kind: opportunistic}},
		"nothing; unreachable":                  {{host: host, kind: unreachable}, {host: host, kind: unreachable, lookupFailed: true}},
		"TLS, because of unusable TLSA records": {{host: host, kind: encryptedByDANE}},
		"TLS, by the operator":                  {{host: host, kind: encryptedByOperator}},
		"TLSA records in DNS":                   {{host: host, kind: byDANE}},
		"TLSA records that are pinned":          {{host: host, kind: byPin}},
		"a certificate for the host":            {{host: host, kind: byName}},
		"a certificate for the next hop":        {{host: host, kind: byNextHop}},
		"TLSA records and a certificate":        {both},
		"refused, because a lookup failed":      {{host: host, lookupFailed: true}},
		"refused for another reason":            {{host: host}},
	}
	for name, of := range demands {
		for _, d := range of {
			chosen := []demand{d} // for the policies that name hosts or keys
			columns := []candidate{none{}, daneOnly{}, daneByHost{}, secure{hosts: chosen}, secureNextHop{}, fingerprint{hosts: chosen}, encrypt{}}
			cells := rows[name]
			if len(cells) != len(columns) {
				t.Fatalf("%q has %d cells: %q", name, len(cells), cells)
			}
			for i, c := range columns {
				cell := strings.TrimSuffix(cells[i], " |")
				want := map[string]treatment{"weaker": weaker, "no mail": excludes, "kept": keeps}[strings.SplitN(cell+",", ",", 2)[0]]
				if strings.HasPrefix(cell, "kept ") {
					want = keeps
				}
				switch c.(type) {
				case secure, fingerprint: // these keep the hosts that they are made for
					if want == excludes {
						continue
					}
				}
				if got := c.treats(d); got != want {
					t.Errorf("%s, %T: %q, and the code says %d", name, c, cell, got)
				}
			}
		}
	}
	off := demand{host: host, withoutDANE: true}
	if rows["refused for another reason"][1] != "no mail, or weaker with `dane_off`" || (daneOnly{}).treats(off) != weaker {
		t.Error("dane-only where the operator has switched DANE off")
	}
}
