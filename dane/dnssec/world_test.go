package dnssec

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/dane/dnssec/internal/proof"
)

// world is a DNS tree and a recursive server that knows all of it. Tests change its
// replies with mangle.
type world struct {
	tb    testing.TB
	zones map[string]*testZone
	now   time.Time

	skew Skew // of the validators
	// timeout is how long an attempt of the validators takes at most: longer than a busy
	// machine needs.
	timeout time.Duration
	// latency is how long each exchange takes.
	latency time.Duration
	// mangle may change the honest reply, or return nil to drop it.
	mangle func(server, network string, m *dns.Msg) *dns.Msg
	// raw, if set, returns the datagrams that are sent instead of the packed reply.
	raw func(m *dns.Msg) [][]byte

	mu      sync.Mutex
	idle    *sync.Cond     // serving became 0
	serving int            // connections
	asked   map[string]int // by "example.com. MX"
	queries []*dns.Msg
	signed  map[string]*dns.RRSIG
}

// testZone is a zone. The world puts its DS records into the parent zone.
type testZone struct {
	name      string
	keys      []*testKey
	records   map[string][]dns.RR // by owner
	unsigned  bool                // no keys, no DS in the parent
	noDS      bool                // signed, but no DS in the parent
	ds        []dns.RR            // instead of the DS records of the keys
	nsec3     bool
	optOut    bool
	iter      uint16
	salt      string
	validFrom time.Time
	validTo   time.Time
}

// newWorld returns a world with a signed root.
func newWorld(tb testing.TB) *world {
	w := &world{
		tb:      tb,
		zones:   make(map[string]*testZone),
		now:     time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC),
		timeout: time.Minute,
		asked:   make(map[string]int),
		signed:  make(map[string]*dns.RRSIG),
	}
	w.idle = sync.NewCond(&w.mu)
	w.zone(".")
	return w
}

// zone adds a signed zone with NSEC, its delegation in the zone above, and the
// records, which are in zone-file form.
func (w *world) zone(name string, records ...string) *testZone {
	w.tb.Helper()
	z := &testZone{
		name:      name,
		keys:      []*testKey{newKey(w.tb, name, dns.ECDSAP256SHA256, 257)},
		records:   make(map[string][]dns.RR),
		validFrom: w.now.Add(-24 * time.Hour),
		validTo:   w.now.Add(7 * 24 * time.Hour),
	}
	w.zones[name] = z
	z.add(w.tb, name+" 3600 IN SOA ns.invalid. host.invalid. 1 3600 600 86400 900")
	z.add(w.tb, name+" 3600 IN NS ns.invalid.")
	if name != "." {
		w.above(name).add(w.tb, name+" 3600 IN NS ns.invalid.")
	}
	for _, record := range records {
		z.add(w.tb, record)
	}
	return z
}

// unsignedZone adds a zone that is delegated without DS.
func (w *world) unsignedZone(name string, records ...string) *testZone {
	w.tb.Helper()
	z := w.zone(name, records...)
	z.unsigned = true
	return z
}

func (z *testZone) add(tb testing.TB, record string) {
	tb.Helper()
	rr, err := dns.NewRR(record)
	if err != nil {
		tb.Fatalf("%s: %v", record, err)
	}
	owner, _ := proof.CanonicalName(rr.Header().Name)
	z.records[owner] = append(z.records[owner], rr)
}

// above returns the zone that delegates name.
func (w *world) above(name string) *testZone { return w.at(proof.Parent(name)) }

// at returns the zone that name is in.
func (w *world) at(name string) *testZone {
	for ; ; name = proof.Parent(name) {
		if z := w.zones[name]; z != nil {
			return z
		}
	}
}

// anchors returns the root's DS records as text.
func (w *world) anchors() string { return zoneText(w.anchorRecords()...) }

func (w *world) anchorRecords() []dns.RR {
	var ds []dns.RR
	for _, k := range w.zones["."].keys {
		ds = append(ds, k.record.ToDS(dns.SHA256))
	}
	return ds
}

func (w *world) config() Config {
	return Config{
		Servers: []string{"192.0.2.53"},
		Anchors: w.anchors(),
		Dial:    w.dial,
		Now:     func() time.Time { return w.now },
		Timeout: w.timeout,
		Skew:    w.skew,
	}
}

func (w *world) validator(edits ...func(*Config)) *Validator {
	w.tb.Helper()
	config := w.config()
	for _, edit := range edits {
		edit(&config)
	}
	v, err := New(config)
	if err != nil {
		w.tb.Fatal(err)
	}
	w.tb.Cleanup(func() { v.Close() }) // which ends the checks of servers that are silent
	return v
}

// lookup looks up a name with a new validator.
func (w *world) lookup(name string, qtype uint16, edits ...func(*Config)) (*Answer, error) {
	w.tb.Helper()
	defer w.settle()
	return w.validator(edits...).Lookup(context.Background(), name, Type(qtype))
}

// dial connects to the recursive server through memory.
func (w *world) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	w.serving++
	near, far := net.Pipe()
	go func() {
		defer w.endServing()
		defer far.Close()
		if network == "tcp" {
			w.serveStream(far, addr)
		} else {
			w.serveDatagrams(far, addr)
		}
	}()
	return near, nil
}

// endServing says that a connection has ended.
func (w *world) endServing() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.serving--; w.serving == 0 {
		w.idle.Broadcast()
	}
}

// settle waits until no client is connected, so that a test may change the world.
func (w *world) settle() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.serving > 0 {
		w.idle.Wait()
	}
}

func (w *world) serveDatagrams(c net.Conn, addr string) {
	for {
		wire, err := receiveQuery(c, "udp")
		if err != nil {
			return
		}
		for _, datagram := range w.serve(addr, "udp", wire) {
			if _, err := c.Write(datagram); err != nil {
				return
			}
		}
	}
}

func (w *world) serveStream(c net.Conn, addr string) {
	for {
		wire, err := receiveQuery(c, "tcp")
		if err != nil {
			return
		}
		for _, m := range w.serve(addr, "tcp", wire) {
			c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(m))), m...))
		}
	}
}

func receiveQuery(c net.Conn, network string) ([]byte, error) {
	if network == "udp" {
		buf := make([]byte, 4096)
		n, err := c.Read(buf)
		return buf[:n], err
	}
	var length [2]byte
	if _, err := io.ReadFull(c, length[:]); err != nil {
		return nil, err
	}
	buf := make([]byte, binary.BigEndian.Uint16(length[:]))
	_, err := io.ReadFull(c, buf)
	return buf, err
}

func sendReply(c net.Conn, network string, m *dns.Msg) {
	wire, err := m.Pack()
	if err != nil {
		return
	}
	if network == "tcp" {
		wire = append(binary.BigEndian.AppendUint16(nil, uint16(len(wire))), wire...)
	}
	c.Write(wire)
}

func (w *world) serve(addr, network string, wire []byte) [][]byte {
	query := new(dns.Msg)
	if err := query.Unpack(wire); err != nil {
		return nil
	}
	if w.latency > 0 {
		time.Sleep(w.latency)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked[query.Question[0].Name+" "+dns.Type(query.Question[0].Qtype).String()]++
	w.queries = append(w.queries, query)
	m := w.reply(query)
	if w.mangle != nil {
		if m = w.mangle(addr, network, m); m == nil {
			return nil
		}
	}
	if w.raw != nil {
		return w.raw(m)
	}
	if network == "udp" && m.Len() > 1232 {
		m.Truncated, m.Answer, m.Ns = true, nil, nil
	}
	packed, err := m.Pack()
	if err != nil {
		w.tb.Errorf("packing the reply to %v: %v", query.Question, err)
		return nil
	}
	return [][]byte{packed}
}

// reply is what an honest recursive server answers, without validating.
func (w *world) reply(query *dns.Msg) *dns.Msg {
	m := new(dns.Msg)
	m.SetReply(query)
	m.RecursionAvailable = true
	m.SetEdns0(1232, true)
	q := query.Question[0]
	w.resolve(m, q.Name, q.Qtype)
	return m
}

func (w *world) resolve(m *dns.Msg, name string, qtype uint16) {
	if len(m.Answer) > 60 {
		return
	}
	z := w.at(name)
	if qtype == dns.TypeDS && name != "." {
		z = w.above(name)
	}
	for at := name; at != z.name; {
		at = proof.Parent(at)
		set := z.set(w, at, dns.TypeDNAME)
		if len(set) == 0 {
			continue
		}
		m.Answer = append(m.Answer, w.sign(z, set)...)
		prefix := strings.TrimSuffix(name, at)
		target := prefix + set[0].(*dns.DNAME).Target
		if _, ok := dns.IsDomainName(target); !ok || len(target) > 254 {
			m.Rcode = dns.RcodeYXDomain
			return
		}
		m.Answer = append(m.Answer, &dns.CNAME{
			Hdr:    dns.RR_Header{Name: name, Rrtype: dns.TypeCNAME, Class: dns.ClassINET, Ttl: set[0].Header().Ttl},
			Target: target,
		})
		if qtype != dns.TypeCNAME {
			w.resolve(m, target, qtype)
		}
		return
	}
	owner, expanded := name, false
	if !z.exists(name) {
		owner, expanded = proof.WildcardOf(z.encloser(name)), true
	}
	if expanded && !z.exists(owner) {
		m.Rcode = dns.RcodeNameError
		w.deny(m, z, name, owner)
		return
	}
	for _, rtype := range []uint16{qtype, dns.TypeCNAME} {
		set := z.set(w, owner, rtype)
		if len(set) == 0 {
			continue
		}
		signedSet := w.sign(z, set)
		if expanded {
			for _, rr := range signedSet {
				rr.Header().Name = name
			}
			w.prove(m, z, name)
		}
		m.Answer = append(m.Answer, signedSet...)
		if rtype == dns.TypeCNAME && qtype != dns.TypeCNAME {
			w.resolve(m, set[0].(*dns.CNAME).Target, qtype)
		}
		return
	}
	if expanded {
		w.deny(m, z, name, owner)
	} else {
		w.deny(m, z, name)
	}
}

// set returns copies of the records, with DNSKEY and DS as the keys have them.
func (z *testZone) set(w *world, owner string, rtype uint16) []dns.RR {
	var set []dns.RR
	if rtype == dns.TypeDNSKEY && owner == z.name && !z.unsigned {
		for _, k := range z.keys {
			set = append(set, dns.Copy(k.record))
		}
	}
	if child := w.zones[owner]; rtype == dns.TypeDS && child != nil && child != z && !child.unsigned && !child.noDS {
		if child.ds != nil {
			return slices.Clone(child.ds)
		}
		for _, k := range child.keys {
			if !k.silent {
				set = append(set, k.record.ToDS(dns.SHA256))
			}
		}
	}
	for _, rr := range z.records[owner] {
		if rr.Header().Rrtype == rtype {
			set = append(set, dns.Copy(rr))
		}
	}
	return set
}

// exists reports whether the name exists in the zone, with records or as an
// ancestor of such a name.
func (z *testZone) exists(name string) bool {
	for owner := range z.records {
		if proof.Within(owner, name) {
			return true
		}
	}
	return false
}

func (z *testZone) encloser(name string) string {
	for !z.exists(name) {
		name = proof.Parent(name)
	}
	return name
}

// types returns the types at owner for a bitmap.
func (z *testZone) types(w *world, owner string) []uint16 {
	var types []uint16
	for _, rr := range z.records[owner] {
		types = append(types, rr.Header().Rrtype)
	}
	if owner == z.name {
		types = append(types, dns.TypeDNSKEY)
	}
	if len(z.set(w, owner, dns.TypeDS)) > 0 {
		types = append(types, dns.TypeDS)
	}
	if len(types) > 0 && !(len(types) == 1 && types[0] == dns.TypeNS) {
		types = append(types, dns.TypeRRSIG)
	}
	if !z.nsec3 {
		types = append(types, dns.TypeNSEC)
	}
	slices.Sort(types)
	return slices.Compact(types)
}

// deny adds the SOA and the records that deny each of the names.
func (w *world) deny(m *dns.Msg, z *testZone, names ...string) {
	m.Ns = append(m.Ns, w.sign(z, z.set(w, z.name, dns.TypeSOA))...)
	w.prove(m, z, names...)
}

// prove adds the NSEC or NSEC3 records that match or cover the names.
func (w *world) prove(m *dns.Msg, z *testZone, names ...string) {
	if z.unsigned {
		return
	}
	for _, name := range names {
		if z.nsec3 {
			w.proveHashed(m, z, name)
			continue
		}
		addOnce(m, w.sign(z, []dns.RR{z.nsecFor(w, name)}))
	}
}

func (w *world) proveHashed(m *dns.Msg, z *testZone, name string) {
	if z.inChain(w, name) {
		addOnce(m, w.sign(z, []dns.RR{z.nsec3For(w, name)}))
		return
	}
	encloser := proof.Parent(name)
	for ; !z.inChain(w, encloser); encloser = proof.Parent(encloser) {
		name = encloser
	}
	addOnce(m, w.sign(z, []dns.RR{z.nsec3For(w, encloser)}))
	addOnce(m, w.sign(z, []dns.RR{z.nsec3For(w, name)}))
}

func addOnce(m *dns.Msg, set []dns.RR) {
	for _, rr := range m.Ns {
		if rr.Header().Name == set[0].Header().Name && rr.Header().Rrtype == set[0].Header().Rrtype {
			return
		}
	}
	m.Ns = append(m.Ns, set...)
}

// nsecFor returns the NSEC record that matches or covers name.
func (z *testZone) nsecFor(w *world, name string) *dns.NSEC {
	var owners []string
	for owner := range z.records {
		owners = append(owners, owner)
	}
	slices.SortFunc(owners, proof.CompareNames)
	i, found := slices.BinarySearchFunc(owners, name, proof.CompareNames)
	if !found {
		i--
	}
	owner, next := owners[i], owners[(i+1)%len(owners)]
	return newTestNSEC(owner, next, z.types(w, owner)...)
}

func newTestNSEC(owner, next string, types ...uint16) *dns.NSEC {
	return &dns.NSEC{
		Hdr:        dns.RR_Header{Name: owner, Rrtype: dns.TypeNSEC, Class: dns.ClassINET, Ttl: 900},
		NextDomain: next, TypeBitMap: types,
	}
}

// inChain reports whether name has an NSEC3 record.
func (z *testZone) inChain(w *world, name string) bool {
	for owner := range z.records {
		if proof.Within(owner, name) && !(z.optOut && z.isUnsignedCut(w, owner)) {
			return true
		}
	}
	return false
}

func (z *testZone) isUnsignedCut(w *world, owner string) bool {
	return owner != z.name && w.zones[owner] != nil && len(z.set(w, owner, dns.TypeDS)) == 0
}

// nsec3For returns the NSEC3 record that matches or covers name.
func (z *testZone) nsec3For(w *world, name string) *dns.NSEC3 {
	return z.nsec3AtHash(w, dns.HashName(name, 1, z.iter, z.salt))
}

// nsec3AtHash returns the NSEC3 record that matches or covers a hash.
func (z *testZone) nsec3AtHash(w *world, asked string) *dns.NSEC3 {
	names := make(map[string]string)
	for owner := range z.records {
		for at := owner; proof.Within(at, z.name); at = proof.Parent(at) {
			if z.inChain(w, at) {
				names[dns.HashName(at, 1, z.iter, z.salt)] = at
			}
			if at == z.name {
				break
			}
		}
	}
	hashes := make([]string, 0, len(names))
	for hash := range names {
		hashes = append(hashes, hash)
	}
	slices.Sort(hashes)
	i, found := slices.BinarySearch(hashes, asked)
	if !found {
		i = (i - 1 + len(hashes)) % len(hashes)
	}
	return z.newTestNSEC3(hashes[i], hashes[(i+1)%len(hashes)], z.types(w, names[hashes[i]])...)
}

func (z *testZone) newTestNSEC3(hash, next string, types ...uint16) *dns.NSEC3 {
	flags := uint8(0)
	if z.optOut {
		flags = 1
	}
	return &dns.NSEC3{
		Hdr:  dns.RR_Header{Name: strings.ToLower(hash) + "." + strings.TrimPrefix(z.name, "."), Rrtype: dns.TypeNSEC3, Class: dns.ClassINET, Ttl: 900},
		Hash: 1, Flags: flags, Iterations: z.iter, SaltLength: uint8(len(z.salt) / 2), Salt: z.salt,
		HashLength: 20, NextDomain: next, TypeBitMap: types,
	}
}
