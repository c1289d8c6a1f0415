package tlsrpt_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"reflect"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/tlsrpt"
)

func TestParseRecord(t *testing.T) {
	t.Parallel()
	const mail = "mailto:t@example.com"
	name32 := strings.Repeat("n", 32)
	tests := []struct {
		clause string
		txt    string
		want   string // endpoints separated by spaces; "" if an error is expected
	}{
		{"RFC example", "v=TLSRPTv1;rua=mailto:reports@example.com", "mailto:reports@example.com"},
		{"RFC example, https", "v=TLSRPTv1; rua=https://reporting.example.com/v1/tlsrpt", "https://reporting.example.com/v1/tlsrpt"},
		{"RPT-5 v is not first", "rua=mailto:t@example.com; v=TLSRPTv1", ""},
		{"RPT-5 white space before v", " v=TLSRPTv1; rua=mailto:t@example.com", ""},
		{"RPT-5 upper-case V", "V=TLSRPTv1; rua=mailto:t@example.com", ""},
		{"RPT-5 lower-case version", "v=tlsrptv1; rua=mailto:t@example.com", ""},
		{"RPT-5 next version", "v=TLSRPTv10; rua=mailto:t@example.com", ""},
		{"RPT-6 nothing else", "v=TLSRPTv1", ""},
		{"RPT-6 only a delimiter", "v=TLSRPTv1; ", ""},
		{"RPT-6 no rua", "v=TLSRPTv1; x=1", ""},
		{"RPT-6 empty rua", "v=TLSRPTv1; rua=", ""},
		{"RPT-6 empty rua, more", "v=TLSRPTv1; rua=; x=1", ""},
		{"RPT-6 white space for rua", "v=TLSRPTv1; rua= ;", ""},
		{"RPT-7 several", "v=TLSRPTv1; rua=mailto:t@example.com,https://example.com/,mailto:u@example.com", mail + " https://example.com/ mailto:u@example.com"},
		{"RPT-7 white space around commas", "v=TLSRPTv1; rua=mailto:t@example.com \t,\t https://example.com/", mail + " https://example.com/"},
		{"RPT-7 empty element", "v=TLSRPTv1; rua=,mailto:t@example.com,,", mail},
		{"RPT-7 twice the same", "v=TLSRPTv1; rua=mailto:t@example.com,MAILTO:t@Example.COM", mail},
		{"RPT-8 encoded comma", "v=TLSRPTv1; rua=https://example.com/a%2Cb%3Bc%21", "https://example.com/a%2Cb%3Bc%21"},
		{"RPT-8 encoded comma in an address", "v=TLSRPTv1; rua=mailto:a%2Cb@example.com", ""},
		{"RPT-8 encoded mark in an address", "v=TLSRPTv1; rua=mailto:a%21b@example.com", "mailto:a%21b@example.com"},
		{"RPT-8 size as in DMARC", "v=TLSRPTv1; rua=mailto:t@example.com!10m", ""},
		{"RPT-9 other schemes", "v=TLSRPTv1; rua=http://example.com/,ftp://example.com/,t@example.com,mailto:t@example.com", mail},
		{"RPT-9 only other schemes", "v=TLSRPTv1; rua=http://example.com/", ""},
		{"RPT-9 upper-case schemes", "v=TLSRPTv1; rua=MailTo:t@example.com,HTTPS://example.com/", mail + " https://example.com/"},
		{"RPT-9 no address", "v=TLSRPTv1; rua=mailto:,mailto:example.com,mailto:@example.com,mailto:t@", ""},
		{"RPT-9 an address in place of a domain", "v=TLSRPTv1; rua=mailto:t@192.0.2.1,mailto:t@[192.0.2.1]", ""},
		{"RPT-9 header fields", "v=TLSRPTv1; rua=mailto:t@example.com?subject=x&bcc=v@example.net", mail},
		{"RPT-9 line end in an address", "v=TLSRPTv1; rua=mailto:t%0D%0A@example.com", ""},
		{"RPT-9 address in U-labels", "v=TLSRPTv1; rua=mailto:t@gr%C3%BCn.example", "mailto:t@xn--grn-ioa.example"},
		{"RPT-9 no host", "v=TLSRPTv1; rua=https:///x,https:x,https://:443/", ""},
		{"RPT-9 user", "v=TLSRPTv1; rua=https://u:p@example.com/", ""},
		{"RPT-9 fragment", "v=TLSRPTv1; rua=https://example.com/?a=b#c", "https://example.com/?a=b"},
		{"RPT-9 not a URI", "v=TLSRPTv1; rua=https://exa mple.com/,https://example.com:x/,mailto:t@example.com", mail},
		{"RPT-10 extension", "v=TLSRPTv1; a_-.9=!:<>~; rua=mailto:t@example.com; x=1", mail},
		{"RPT-10 name of 32", "v=TLSRPTv1; rua=mailto:t@example.com; " + name32 + "=x", mail},
		{"RPT-10 name of 33", "v=TLSRPTv1; rua=mailto:t@example.com; n" + name32 + "=x", ""},
		{"RPT-10 no grammar", "v=TLSRPTv1; rua=mailto:t@example.com; _x=1", ""},
		{"RPT-10 no value", "v=TLSRPTv1; rua=mailto:t@example.com; x", ""},
		{"RPT-10 not US-ASCII", "v=TLSRPTv1; rua=mailto:t@example.com; x=gr\u00fcn", ""},
		{"RPT-12 R12 two rua fields", "v=TLSRPTv1; rua=mailto:t@example.com; rua=mailto:u@example.com", mail + " mailto:u@example.com"},
		{"R12 the first rua field is unusable", "v=TLSRPTv1; rua=http://x.example/; rua=mailto:t@example.com", mail},
		{"R12 the second rua field is unusable", "v=TLSRPTv1; rua=mailto:t@example.com; x=1; rua=t@example.com", mail},
		{"R12 all rua fields are unusable", "v=TLSRPTv1; rua=http://x.example/; rua=mailto:", ""},
		{"R12 an endpoint in two rua fields", "v=TLSRPTv1; rua=mailto:t@example.com,https://example.com/; rua=MAILTO:t@EXAMPLE.com", mail + " https://example.com/"},
		{"R12 an empty rua field", "v=TLSRPTv1; rua=mailto:t@example.com; rua=", ""},
		{"R8 address of 254 octets", "v=TLSRPTv1; rua=mailto:" + strings.Repeat("a", 242) + "@example.com", "mailto:" + strings.Repeat("a", 242) + "@example.com"},
		{"R8 address of 255 octets", "v=TLSRPTv1; rua=mailto:" + strings.Repeat("a", 243) + "@example.com," + mail, mail},
		{"R8 encoded address of 255 octets", "v=TLSRPTv1; rua=mailto:" + strings.Repeat("%61", 243) + "@example.com," + mail, mail},
		{"R8 local part of 20,000 octets", "v=TLSRPTv1; rua=mailto:" + strings.Repeat("a", 20000) + "@example.com", ""},
		{"R8 URI of 8000 octets", "v=TLSRPTv1; rua=https://example.com/" + strings.Repeat("a", 8000-20), "https://example.com/" + strings.Repeat("a", 8000-20)},
		{"R8 URI of 8001 octets", "v=TLSRPTv1; rua=https://example.com/" + strings.Repeat("a", 8001-20) + "," + mail, mail},
		{"RPT-11 much white space", "v=TLSRPTv1 \t; \t rua=mailto:t@example.com \t ; \t ", mail},
		{"RPT-11 no last delimiter", "v=TLSRPTv1;rua=mailto:t@example.com", mail},
		{"RPT-11 two delimiters", "v=TLSRPTv1;; rua=mailto:t@example.com", ""},
		{"RPT-11 upper-case RUA", "v=TLSRPTv1; RUA=https://example.com/", ""},
		{"AMB-1 white space before the first delimiter", "v=TLSRPTv1 ; rua=mailto:t@example.com", mail},
	}
	for _, test := range tests {
		t.Run(test.clause, func(t *testing.T) {
			t.Parallel()
			record, err := tlsrpt.ParseRecord(test.txt)
			var got []string
			for _, endpoint := range record.Endpoints {
				got = append(got, endpoint.String())
			}
			if strings.Join(got, " ") != test.want {
				t.Errorf("endpoints %q, want %q (%v)", got, test.want, err)
			}
			if (err == nil) != (test.want != "") || err != nil && !errors.Is(err, tlsrpt.ErrBadRecord) {
				t.Errorf("the error is %v", err)
			}
		})
	}
}

// A record cannot make a report cost more than eight deliveries (RPT-82).
func TestParseRecordBoundsEndpoints(t *testing.T) {
	t.Parallel()
	txt := "v=TLSRPTv1; rua=mailto:0@example.com"
	for i := range 100 {
		txt += fmt.Sprintf(",mailto:%d@example.com", i)
	}
	record, err := tlsrpt.ParseRecord(txt)
	if err != nil || len(record.Endpoints) != 8 {
		t.Errorf("%d endpoints, %v", len(record.Endpoints), err)
	}
}

func TestSelectRecord(t *testing.T) {
	t.Parallel()
	const good = "v=TLSRPTv1; rua=mailto:t@example.com"
	tests := []struct {
		clause string
		txts   []string
		err    error
	}{
		{"RPT-3 none", nil, tlsrpt.ErrNoRecord},
		{"RPT-2 only others", []string{"v=spf1 -all", "v=TLSRPTv2; rua=x", "v=TLSRPTv1", ""}, tlsrpt.ErrNoRecord},
		{"RPT-2 others beside it", []string{"v=spf1 -all", good, "v=TLSRPTv10; x=1"}, nil},
		{"RPT-3 two", []string{good, good}, tlsrpt.ErrBadRecord},
		{"RPT-3 a bad one counts", []string{good, "v=TLSRPTv1;"}, tlsrpt.ErrBadRecord},
		{"RPT-3 a bad one", []string{"v=TLSRPTv1; rua"}, tlsrpt.ErrBadRecord},
		{"AMB-1", []string{"v=TLSRPTv1 \t; rua=mailto:t@example.com"}, nil},
	}
	for _, test := range tests {
		t.Run(test.clause, func(t *testing.T) {
			t.Parallel()
			record, err := tlsrpt.SelectRecord(test.txts)
			if !errors.Is(err, test.err) {
				t.Fatalf("the error is %v, want %v", err, test.err)
			}
			want := tlsrpt.Record{}
			if test.err == nil {
				want.Endpoints = []tlsrpt.Endpoint{{Mail: "t@example.com"}}
			}
			if !reflect.DeepEqual(record, want) {
				t.Errorf("got %+v", record)
			}
		})
	}
}

// RPT-4: a record of several character-strings is joined without spaces, which
// net.Resolver does.
func TestSelectRecordOfSeveralStrings(t *testing.T) {
	t.Parallel()
	resolver := &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		go answerTXT(server, "v=TLSRPT", "v1; rua=mail", "to:t@example.com")
		return client, nil
	}}
	txts, err := resolver.LookupTXT(t.Context(), "_smtp._tls.example.com.")
	if err != nil {
		t.Fatal(err)
	}
	record, err := tlsrpt.SelectRecord(txts)
	if err != nil || !reflect.DeepEqual(record.Endpoints, []tlsrpt.Endpoint{{Mail: "t@example.com"}}) {
		t.Errorf("%q: %+v, %v", txts, record, err)
	}
}

// answerTXT answers one query with one record.
func answerTXT(conn net.Conn, strings ...string) {
	defer conn.Close()
	server := &dns.Conn{Conn: conn}
	question, err := server.ReadMsg()
	if err != nil {
		return
	}
	answer := new(dns.Msg).SetReply(question)
	header := dns.RR_Header{Name: question.Question[0].Name, Rrtype: dns.TypeTXT, Class: dns.ClassINET}
	answer.Answer = []dns.RR{&dns.TXT{Hdr: header, Txt: strings}}
	_ = server.WriteMsg(answer) // if this fails, the resolver fails
}

// The URI of each endpoint in a record parses to the same endpoint.
func FuzzParseRecord(f *testing.F) {
	f.Add("v=TLSRPTv1; rua=mailto:t@example.com,https://example.com/?a=b")
	f.Add("v=TLSRPTv1; rua=mailto:a%21b@gr%C3%BCn.example; x=y")
	f.Fuzz(func(t *testing.T, txt string) {
		record, err := tlsrpt.ParseRecord(txt)
		if (err == nil) != (len(record.Endpoints) > 0) {
			t.Fatalf("%+v, %v", record, err)
		}
		for _, endpoint := range record.Endpoints {
			if (endpoint.Mail == "") == (endpoint.URL == "") ||
				strings.ContainsAny(endpoint.String(), " \r\n\x00") {
				t.Errorf("%+v", endpoint)
			}
			again, err := tlsrpt.ParseRecord("v=TLSRPTv1; rua=" + endpoint.String())
			if err != nil || !reflect.DeepEqual(again.Endpoints, []tlsrpt.Endpoint{endpoint}) {
				t.Errorf("%+v became %+v, %v", endpoint, again, err)
			}
		}
	})
}
