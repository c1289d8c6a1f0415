package survey

import (
	"crypto/x509"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/mxseal/mxseal/dane"
	"github.com/mxseal/mxseal/internal/test/testpki"
	"github.com/mxseal/mxseal/policy"
)

// A host with hundreds of records, each of which may take many signatures, does not hold up
// the check.
func TestOnlySomeRecordsAreCompared(t *testing.T) {
	host := &policy.Host{ReferenceNames: []string{"mx.example.org"}}
	for i := range maxJudged + 10 {
		digest := make([]byte, 32)
		binary.BigEndian.PutUint64(digest, uint64(i))
		host.TLSA = append(host.TLSA, dane.Record{Usage: dane.DANEEE, Selector: dane.SPKI, MatchingType: dane.SHA256, Data: digest})
	}
	chain := []*x509.Certificate{testpki.SelfSigned(t, host.ReferenceNames).Cert}
	left := 0
	for _, judged := range judgeRecords(host, chain, testpki.Now) {
		if strings.HasPrefix(judged.How, "not compared") {
			left++
		}
		if judged.Matches || judged.Record == "" {
			t.Errorf("%+v", judged)
		}
	}
	if left != 10 {
		t.Errorf("%d of %d are not compared", left, len(host.TLSA))
	}
}
