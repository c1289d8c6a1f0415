package boltstore

import (
	"encoding/binary"
	"hash/crc32"
	"net/netip"

	"github.com/mxseal/mxseal/tlsrpt"
	"github.com/mxseal/mxseal/tlsrpt/report"
)

// The binary form of what is counted. Numbers are varints of package encoding/binary,
// strings are preceded by their length, and lists by their number of elements.

// policyForm returns the form of a policy.
func policyForm(p *tlsrpt.Policy) string {
	b := appendString(appendString(nil, string(p.Type)), p.Domain)
	for _, list := range [][]string{p.Strings, p.MXHosts} {
		b = binary.AppendUvarint(b, uint64(len(list)))
		for _, s := range list {
			b = appendString(b, s)
		}
	}
	return string(b)
}

// detailForm returns the form of a detail, without its sessions.
func detailForm(d *report.Detail) string {
	b := appendString(appendString(nil, string(d.Type)), d.ReasonCode)
	for _, addr := range []netip.Addr{d.SendingIP, d.ReceivingIP} {
		b = appendString(b, string(addr.AsSlice()))
	}
	for _, s := range []string{d.MXHost, d.HELO, d.Info} {
		b = appendString(b, s)
	}
	return string(b)
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// decoder reads one value after another. After an error, all values that it reads are
// zero.
type decoder struct {
	rest    string
	damaged bool
}

func (d *decoder) fail() {
	d.rest, d.damaged = "", true
}

// isDone reports whether all was read without an error.
func (d *decoder) isDone() bool { return d.rest == "" && !d.damaged }

func (d *decoder) uint() uint64 {
	v, n := binary.Uvarint([]byte(d.rest[:min(len(d.rest), binary.MaxVarintLen64)]))
	if n <= 0 {
		d.fail()
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

// count reads a number of sessions.
func (d *decoder) count() int64 {
	v := d.uint()
	if v > 1<<62 {
		d.fail()
		return 0
	}
	return int64(v)
}

// octets reads n octets.
func (d *decoder) octets(n uint64) string {
	if n > uint64(len(d.rest)) {
		d.fail()
		return ""
	}
	s := d.rest[:n]
	d.rest = d.rest[n:]
	return s
}

func (d *decoder) string() string { return d.octets(d.uint()) }

func (d *decoder) list() (list []string) {
	for n := d.uint(); n > 0 && !d.damaged; n-- {
		list = append(list, d.string())
	}
	return list
}

func (d *decoder) addr() netip.Addr {
	text := d.string()
	addr, ok := netip.AddrFromSlice([]byte(text))
	if !ok && text != "" {
		d.fail()
	}
	return addr
}

func (d *decoder) policy() tlsrpt.Policy {
	return tlsrpt.Policy{Type: tlsrpt.PolicyType(d.string()), Domain: d.string(), Strings: d.list(), MXHosts: d.list()}
}

func (d *decoder) detail() report.Detail {
	return report.Detail{
		Type: tlsrpt.ResultType(d.string()), ReasonCode: d.string(), SendingIP: d.addr(), ReceivingIP: d.addr(),
		MXHost: d.string(), HELO: d.string(), Info: d.string(),
	}
}

// seal returns a value of the file: a checksum of four octets, which covers the key too,
// and the content. content begins with four octets for it.
func seal(key string, content []byte) []byte {
	binary.BigEndian.PutUint32(content, checksum(key, content[4:]))
	return content
}

// unseal returns a decoder for a value of the file.
func unseal(key string, value []byte) decoder {
	if len(value) < 4 || binary.BigEndian.Uint32(value) != checksum(key, value[4:]) {
		return decoder{damaged: true}
	}
	return decoder{rest: string(value[4:])}
}

func checksum(key string, data []byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	return crc32.Update(crc32.Checksum([]byte(key), table), table, data)
}
