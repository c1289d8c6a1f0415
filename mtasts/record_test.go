package mtasts_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/mxseal/mxseal/mtasts"
)

func TestParseRecord(t *testing.T) {
	t.Parallel()
	id32 := strings.Repeat("a", 32)
	name32 := strings.Repeat("n", 32)
	tests := []struct {
		clause string
		txt    string
		id     string // "" if invalid
	}{
		{"RFC example", "v=STSv1; id=20160831085700Z;", "20160831085700Z"},
		{"STS-5 not US-ASCII", "v=STSv1; id=1; x=gr\u00fcn", ""},
		{"STS-5 no UTF-8 either", "v=STSv1; id=1; x=\xff", ""},
		{"STS-6 v is not first", "id=1; v=STSv1", ""},
		{"STS-6 white space before v", " v=STSv1; id=1", ""},
		{"STS-14 no id", "v=STSv1; x=1", ""},
		{"STS-15 empty id", "v=STSv1; id=", ""},
		{"STS-15 empty id, more", "v=STSv1; id=;", ""},
		{"STS-15 one character", "v=STSv1; id=Z", "Z"},
		{"STS-15 32 characters", "v=STSv1; id=" + id32, id32},
		{"STS-15 33 characters", "v=STSv1; id=" + id32 + "a", ""},
		{"STS-15 hyphen", "v=STSv1; id=2026-01-01", ""},
		{"STS-15 dot", "v=STSv1; id=1.2", ""},
		{"STS-15 equals sign", "v=STSv1; id=1=2", ""},
		{"STS-15 quotes", `v=STSv1; id="1"`, ""},
		{"STS-15 space inside", "v=STSv1; id=1 2", ""},
		{"STS-16 upper-case V", "V=STSv1; id=1", ""},
		{"STS-16 lower-case version", "v=stsv1; id=1", ""},
		{"STS-16 upper-case ID is an extension", "v=STSv1; ID=1", ""},
		{"STS-16 next version", "v=STSv10; id=1", ""},
		{"STS-17 nothing else", "v=STSv1", ""},
		{"STS-17 only a delimiter", "v=STSv1;", ""},
		{"STS-17 only a delimiter and white space", "v=STSv1 ; ", ""},
		{"empty", "", ""},
		{"STS-18 no white space", "v=STSv1;id=1", "1"},
		{"STS-18 much of it", "v=STSv1; \t id=1 \t ; \t x=y ; \t ", "1"},
		{"AMB-1 white space before the first delimiter", "v=STSv1 \t; id=1", "1"},
		{"STS-18 two delimiters", "v=STSv1;; id=1", ""},
		{"STS-18 two delimiters at the end", "v=STSv1; id=1;;", ""},
		{"STS-18 line feed is no white space", "v=STSv1;\nid=1", ""},
		{"STS-18 white space around equals sign", "v=STSv1; id =1", ""},
		{"STS-18 white space after equals sign", "v=STSv1; id= 1", ""},
		{"STS-19 extension", "v=STSv1; id=1; a_-.9=!:<>~", "1"},
		{"STS-20 name of 32", "v=STSv1; id=1; " + name32 + "=x", "1"},
		{"STS-20 name of 33", "v=STSv1; id=1; n" + name32 + "=x", ""},
		{"STS-20 name begins with underscore", "v=STSv1; id=1; _x=1", ""},
		{"STS-20 empty name", "v=STSv1; id=1; =1", ""},
		{"STS-20 no value", "v=STSv1; id=1; x", ""},
		{"STS-20 empty value", "v=STSv1; id=1; x=", ""},
		{"STS-20 equals sign in value", "v=STSv1; id=1; x=a=b", ""},
		{"STS-20 space in value", "v=STSv1; id=1; x=a b", ""},
		{"STS-20 control in value", "v=STSv1; id=1; x=a\x7fb", ""},
		{"STS-21 first id counts", "v=STSv1; id=1; id=2", "1"},
		{"STS-21 later id malformed", "v=STSv1; id=1; id=a-b", "1"},
		{"AMB-4 first id malformed", "v=STSv1; id=a-b; id=1", ""},
		{"STS-22 order", "v=STSv1; x=y; id=1", "1"},
		{"STS-22 v again", "v=STSv1; id=1; v=STSv2", "1"},
	}
	for _, test := range tests {
		t.Run(test.clause, func(t *testing.T) {
			t.Parallel()
			record, err := mtasts.ParseRecord(test.txt)
			if record.ID != test.id || (err == nil) != (test.id != "") {
				t.Errorf("ParseRecord(%q) = %q, %v, want %q", test.txt, record.ID, err, test.id)
			}
			checkParseError(t, err, mtasts.KindRecord)
		})
	}
}

// M16: white space at the end of a record is accepted, with a semicolon before it
// and without; white space inside of a field is not.
func TestM16TrailingWhiteSpace(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ txt, id string }{
		{"v=STSv1; id=1 ", "1"},
		{"v=STSv1; id=1\t", "1"},
		{"v=STSv1; id=1 \t ", "1"},
		{"v=STSv1; id=1; ", "1"},
		{"v=STSv1; id=1 ; ", "1"},
		{"v=STSv1; id=1; x=y ", "1"},
		{"v=STSv1; x=y; id=1 ", "1"},
		{"v=STSv1; id=" + strings.Repeat("a", 32) + " ", strings.Repeat("a", 32)},
		{"v=STSv1; id= ", ""},
		{"v=STSv1; id=1 2 ", ""},
		{"v=STSv1; id=1; x= ", ""},
		{"v=STSv1; id=1; x=y z ", ""},
		{"v=STSv1; id=1\n", ""},
		{"v=STSv1; id=1\r", ""},
		{"v=STSv1; id=1\u00a0", ""},
		{"v=STSv1; id=1;; ", ""},
	} {
		record, err := mtasts.SelectRecord([]string{test.txt})
		if record.ID != test.id || (err == nil) != (test.id != "") {
			t.Errorf("%q: id %q, %v; want %q", test.txt, record.ID, err, test.id)
		}
		checkParseError(t, err, mtasts.KindRecord)
	}
}

// checkParseError checks that an error of a parser has the kind and is safe to log.
func checkParseError(t *testing.T, err error, kind mtasts.Kind) {
	t.Helper()
	if err == nil {
		return
	}
	var parse *mtasts.Error
	if !errors.As(err, &parse) || parse.Kind != kind || parse.ReasonCode == "" {
		t.Fatalf("error %#v, want one of kind %s", err, kind)
	}
	if text := err.Error(); len(text) > 1000 || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) {
		t.Errorf("error text %q", text)
	}
}

func TestSelectRecord(t *testing.T) {
	t.Parallel()
	const good = "v=STSv1; id=1;"
	tests := []struct {
		clause string
		txts   []string
		id     string
		reason string // "" with no id: ErrNoRecord
	}{
		{"STS-7, STS-11, field note 40: foreign records", []string{"v=spf1 -all", good, "v=STSv2; id=2", "x"}, "1", ""},
		{"STS-7 v=STSv1 without semicolon", []string{"v=STSv1", good}, "1", ""},
		{"STS-7 another case", []string{"V=STSv1; id=2", good}, "1", ""},
		{"STS-6 v is not first", []string{"id=2; v=STSv1;", good}, "1", ""},
		{"AMB-1 white space", []string{"v=STSv1 ; id=1"}, "1", ""},
		{"AMB-1 counts as one", []string{"v=STSv1 ; id=1", good}, "", "record-multiple"},
		{"STS-8 none", nil, "", ""},
		{"STS-8 none left", []string{"v=spf1 -all", ""}, "", ""},
		{"STS-9 two", []string{good, "v=STSv1; id=2;"}, "", "record-multiple"},
		{"STS-9 two equal", []string{good, good}, "", "record-multiple"},
		{"STS-9 two, one of them malformed", []string{good, "v=STSv1;"}, "", "record-multiple"},
		{"STS-10 malformed", []string{"v=STSv1; id=?"}, "", "record-id"},
		{"joined strings, in the middle of a word", []string{"v=STS" + "v1; id=1"}, "1", ""},
	}
	for _, test := range tests {
		t.Run(test.clause, func(t *testing.T) {
			t.Parallel()
			record, err := mtasts.SelectRecord(test.txts)
			if record.ID != test.id {
				t.Errorf("id %q, want %q (%v)", record.ID, test.id, err)
			}
			var malformed *mtasts.Error
			switch {
			case test.id != "":
				if err != nil {
					t.Error(err)
				}
			case test.reason == "":
				if err != mtasts.ErrNoRecord {
					t.Errorf("error %v, want ErrNoRecord", err)
				}
			case !errors.As(err, &malformed) || malformed.ReasonCode != test.reason:
				t.Errorf("error %v, want %s", err, test.reason)
			}
		})
	}
}
