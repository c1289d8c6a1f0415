package delivery
import ("testing";"context")
func BenchmarkZPool(b *testing.B) {
	d, _ := dialerOfProcess(b)
	p := &Pool{Dialer: d}
	defer p.Close(context.Background())
	b.ReportAllocs()
	for b.Loop() { if err := p.SendMail(b.Context(), "s@example.net", []string{"x@example.org"}, []byte(letter)); err != nil { b.Fatal(err) } }
	b.ReportMetric(float64(cpuTime(b))/float64(b.N), "cpu-ns/op")
}
func BenchmarkZAlone(b *testing.B) {
	d, _ := dialerOfProcess(b)
	b.ReportAllocs()
	for b.Loop() { if err := d.SendMail(b.Context(), "s@example.net", []string{"x@example.org"}, []byte(letter)); err != nil { b.Fatal(err) } }
	b.ReportMetric(float64(cpuTime(b))/float64(b.N), "cpu-ns/op")
}
func BenchmarkZResumed(b *testing.B) {
	d, _ := dialerOfProcess(b)
	p := &Pool{Dialer: d, MaxUses: 1}
	defer p.Close(context.Background())
	b.ReportAllocs()
	for b.Loop() { if err := p.SendMail(b.Context(), "s@example.net", []string{"x@example.org"}, []byte(letter)); err != nil { b.Fatal(err) } }
	b.ReportMetric(float64(cpuTime(b))/float64(b.N), "cpu-ns/op")
}
