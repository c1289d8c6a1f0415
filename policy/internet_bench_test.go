package policy_test

import (
	"testing"
	"time"

	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/policytest"
)

// BenchmarkResolveCold makes validated plans with all caches empty. Each reply of the name
// server takes 20 ms, so nearly all of the time is round trips. The limit is two if the MX
// records prove that the hosts are in a signed zone: one round trip for the MX records, and
// one for what is at the hosts. Otherwise it is three, because TLSA records are looked up
// only if the addresses are known to be secure (RFC 7672 section 2.2.2).
func BenchmarkResolveCold(b *testing.B) {
	const latency = 20 * time.Millisecond
	for _, bench := range []struct {
		name, domain string
		by           policy.Mechanism
		limit        float64
	}{
		{"host in the domain", "dane.example", policy.ByDANE, 2},
		{"host elsewhere", "hosted.example", policy.ByDANE, 3},
		{"signed, no TLSA", "signed.example", 0, 3},
		{"unsigned", "unsigned.example", 0, 3},
	} {
		b.Run(bench.name, func(b *testing.B) {
			inet := policytest.New(b)
			inet.Domain("dane.example").MX("mx.dane.example")
			inet.Host("mx.dane.example", policytest.TLSA("3 1 1"))
			inet.Domain("hosted.example").MX("mx.provider.test")
			inet.Host("mx.provider.test", policytest.TLSA("3 1 1"))
			inet.Domain("signed.example").MX("mx.signed.example")
			inet.Host("mx.signed.example")
			inet.Domain("unsigned.example", policytest.Unsigned).MX("mx.unsigned.example")
			inet.Host("mx.unsigned.example")
			resolve := func() {
				plan, err := resolver(b, inet).Resolve(b.Context(), bench.domain)
				if err != nil || plan.Hosts[0].By != bench.by {
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
			b.ReportMetric(bench.limit, "limit-roundtrips/op")
			b.ReportMetric(float64(b.Elapsed())/float64(b.N)/float64(latency), "latencies/op")
		})
	}
}
