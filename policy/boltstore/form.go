package boltstore

import (
	"encoding/binary"
	"hash/crc32"
	"math"
	"net/netip"

	"github.com/mxseal/mxseal/internal/fields"
	"github.com/mxseal/mxseal/tlsrpt"
	"github.com/mxseal/mxseal/tlsrpt/report"
)

// The binary form of what is counted. Numbers are varints of package encoding/binary,
// strings are preceded by their length, and lists by their number of elements.

// policyForm returns the form of a policy.
func policyForm(p *tlsrpt.Policy) string {
	b := fields.AppendString(fields.AppendString(nil, string(p.Type)), p.Domain)
	for _, list := range [][]string{p.Strings, p.MXHosts} {
		b = binary.AppendUvarint(b, uint64(len(list)))
		for _, s := range list {
			b = fields.AppendString(b, s)
		}
	}
	return string(b)
}

// detailForm returns the form of a detail, without its sessions.
func detailForm(d *report.Detail) string {
	b := fields.AppendString(fields.AppendString(nil, string(d.Type)), d.ReasonCode)
	for _, addr := range []netip.Addr{d.SendingIP, d.ReceivingIP} {
		b = fields.AppendString(b, string(addr.AsSlice()))
	}
	for _, s := range []string{d.MXHost, d.HELO, d.Info} {
		b = fields.AppendString(b, s)
	}
	return string(b)
}

// decoder reads one value after another.
type decoder struct{ fields.Decoder }

func decoderOf(form string) decoder { return decoder{fields.Decoder{Rest: form}} }

// number reads a number without a limit, and count a number of sessions.
func (d *decoder) number() uint64 { return d.Uint(math.MaxUint64) }
func (d *decoder) count() int64   { return int64(d.Uint(1 << 62)) }

func (d *decoder) list() (list []string) {
	for n := d.number(); n > 0 && !d.Damaged; n-- {
		list = append(list, d.String())
	}
	return list
}

func (d *decoder) addr() netip.Addr {
	text := d.String()
	addr, ok := netip.AddrFromSlice([]byte(text))
	if !ok && text != "" {
		d.Fail()
	}
	return addr
}

func (d *decoder) policy() tlsrpt.Policy {
	return tlsrpt.Policy{Type: tlsrpt.PolicyType(d.String()), Domain: d.String(), Strings: d.list(), MXHosts: d.list()}
}

func (d *decoder) detail() report.Detail {
	return report.Detail{
		Type: tlsrpt.ResultType(d.String()), ReasonCode: d.String(), SendingIP: d.addr(), ReceivingIP: d.addr(),
		MXHost: d.String(), HELO: d.String(), Info: d.String(),
	}
}

// seal returns a value of the file: a checksum of four octets, which covers the key too,
// and the content. content begins with four octets for it.
func seal(key, content []byte) []byte {
	binary.BigEndian.PutUint32(content, checksum(key, content[4:]))
	return content
}

// unseal returns a decoder for a value of the file, which fails if the checksum is wrong.
func unseal(key, value []byte) decoder {
	if len(value) < 4 || binary.BigEndian.Uint32(value) != checksum(key, value[4:]) {
		return decoder{fields.Decoder{Damaged: true}}
	}
	return decoderOf(string(value[4:]))
}

func checksum(key, data []byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	return crc32.Update(crc32.Checksum(key, table), table, data)
}
