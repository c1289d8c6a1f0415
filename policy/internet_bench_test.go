package policy_test

import (
	"testing"
	"time"

	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/policytest"
)

// A validated plan for a DANE domain with all caches empty. Each name server
// reply is 20 ms away, so that the time is nearly all round trips; the limit is
// two, one for the MX records and one for what is at the hosts, and a third is
// the price of asking for TLSA records only where the addresses are secure
// (RFC 7672 section 2.2.2).
func BenchmarkResolveCold(b *testing.B) {
	const latency = 20 * time.Millisecond
	for _, bench := range []struct {
		name, domain string
	}{
		{"host in the domain", "dane.example"},
		{"host elsewhere", "hosted.example"},
	} {
		b.Run(bench.name, func(b *testing.B) {
			inet := policytest.New(b)
			inet.Domain("dane.example").MX("mx.dane.example")
			inet.Host("mx.dane.example", policytest.TLSA("3 1 1"))
			inet.Domain("hosted.example").MX("mx.provider.test")
			inet.Host("mx.provider.test", policytest.TLSA("3 1 1"))
			resolve := func() {
				plan, err := resolver(b, inet).Resolve(b.Context(), bench.domain)
				if err != nil || plan.Hosts[0].By != policy.ByDANE {
					b.Fatalf("%+v, %v", plan, err)
				}
			}
			resolve() // the internet signs its answers when first asked
			inet.SlowDNS(latency)
			inet.ForgetQuestions()
			for b.Loop() {
				resolve()
			}
			b.ReportMetric(float64(inet.RoundTrips())/float64(b.N), "roundtrips/op")
			b.ReportMetric(float64(b.Elapsed())/float64(b.N)/float64(latency), "latencies/op")
		})
	}
}
