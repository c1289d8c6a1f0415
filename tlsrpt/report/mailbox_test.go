package report_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"testing/iotest"

	"github.com/mxseal/mxseal/tlsrpt/report"
)

// numberedText returns the text of a report with this report-id.
func numberedText(t testing.TB, id string) string {
	r := newReport()
	r.ID = id
	return string(marshal(t, r))
}

func mailed(t testing.TB, id string) string {
	return report1("Content-Type: application/tlsrpt+gzip\r\nContent-Transfer-Encoding: base64", base64Lines(zip(t, []byte(numberedText(t, id)))))
}

// collect returns the ids of the reports, and errors as "!" with the text.
func collect(reports func(func(*report.Report, error) bool)) (got []string) {
	for r, err := range reports {
		switch {
		case err != nil && r == nil:
			got = append(got, "!"+err.Error())
		case err != nil:
			got = append(got, "both a report and an error")
		default:
			got = append(got, r.ID)
		}
	}
	return got
}

func TestReadFromMailboxes(t *testing.T) {
	t.Parallel()
	const from = "From tls@sender.example Mon Mar  2 00:00:00 2026\n"
	other := message("Content-Type: text/plain", "hello\r\n\r\nFrom here on, all is well\r\n>From quoted Mon Mar  2 00:00:00 2026")
	noReport := "!report: the message contains no report"
	lf := func(s string) string { return strings.ReplaceAll(s, "\r\n", "\n") }
	quoted := strings.Replace(lf(report1("Content-Type: application/tlsrpt+json\r\nContent-Transfer-Encoding: quoted-printable",
		strings.ReplaceAll(numberedText(t, "12"), "=", "=3D"))), `"report-id":"12"`, "\"report-id\":\"=\n>From 1=\n>>From 2\"", 1)
	for name, test := range map[string]struct {
		received string
		want     []string
	}{
		"an mbox with quotes":    {from + quoted, []string{"From 1>From 2"}},
		"too many":               {strings.Repeat(numberedText(t, "1"), 3) + strings.Repeat("{}", 10_000), append([]string{"1", "1", "1"}, append(slices.Repeat([]string{"!report: policies: there are no policies"}, 9997), "!"+report.ErrTooLarge.Error())...)},
		"one report":             {numberedText(t, "1"), []string{"1"}},
		"one compressed":         {string(zip(t, []byte(numberedText(t, "1")))), []string{"1"}},
		"several":                {numberedText(t, "1") + "\n" + numberedText(t, "2") + numberedText(t, "3") + "\n", []string{"1", "2", "3"}},
		"several compressed":     {string(zip(t, []byte(numberedText(t, "1")))) + string(zip(t, []byte(numberedText(t, "2")))), []string{"1", "2"}},
		"a bad one among them":   {numberedText(t, "1") + "{}" + numberedText(t, "2"), []string{"1", "!report: policies: there are no policies", "2"}},
		"a message":              {mailed(t, "1"), []string{"1"}},
		"a message with several": {message("Content-Type: multipart/digest; boundary=d", "--d\r\nContent-Type: message/rfc822\r\n\r\n"+mailed(t, "1")+"\r\n--d\r\nContent-Type: message/rfc822\r\n\r\n"+mailed(t, "2")+"\r\n--d--\r\n"), []string{"1", "2"}},
		"an mbox":                {from + lf(mailed(t, "1")) + "\n" + from + lf(other) + "\n\n" + from + lf(mailed(t, "2")), []string{"1", noReport, "2"}},
		"an mbox with CRLF":      {strings.ReplaceAll(from, "\n", "\r\n") + mailed(t, "1") + "\r\n" + strings.ReplaceAll(from, "\n", "\r\n") + mailed(t, "2"), []string{"1", "2"}},
		"an mbox, a bad message": {from + "\n\n" + from + mailed(t, "2"), []string{"!report: neither JSON nor gzip nor a mail message", "2"}},
		"an mbox, a large one":   {from + "A: b\n\n" + strings.Repeat("x", report.MaxSize) + "\n\n" + from + mailed(t, "2"), []string{"!" + report.ErrTooLarge.Error(), "2"}},
		"nothing":                {"", []string{"!report: neither JSON nor gzip nor a mail message"}},
		"too much":               {strings.Repeat(" ", report.MaxSize+1), []string{"!" + report.ErrTooLarge.Error()}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := collect(report.Read(strings.NewReader(test.received))); !slices.Equal(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
			if got := collect(report.Read(iotest.OneByteReader(strings.NewReader(test.received)))); len(test.received) < 1<<20 && !slices.Equal(got, test.want) {
				t.Errorf("by octets: got %q, want %q", got, test.want)
			}
		})
	}
	t.Run("an error of the reader", func(t *testing.T) {
		t.Parallel()
		broken := errors.New("broken")
		got := collect(report.Read(io.MultiReader(strings.NewReader(from+mailed(t, "1")+"\n"+from), iotest.ErrReader(broken))))
		if want := []string{"1", "!report: broken"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
	t.Run("ErrNoReport", func(t *testing.T) {
		t.Parallel()
		for _, err := range report.Read(strings.NewReader(other)) {
			if !errors.Is(err, report.ErrNoReport) {
				t.Errorf("the error is %v", err)
			}
		}
	})
}

// A caller can end an iteration early. (The test panics if the iterator continues.)
func TestReadStops(t *testing.T) {
	t.Parallel()
	const from = "From tls@sender.example Mon Mar  2 00:00:00 2026\n"
	dir := fstest.MapFS{
		"a":     {Data: []byte(numberedText(t, "1") + numberedText(t, "2"))},
		"b":     {Data: []byte(from + mailed(t, "1") + "\n" + from + mailed(t, "2"))},
		"c/new": {Data: []byte("x")},
	}
	for _, name := range []string{"a", "b"} {
		for range report.Read(strings.NewReader(string(dir[name].Data))) {
			break
		}
	}
	seen := 0
	for range report.ReadFS(dir) {
		if seen++; seen == 3 {
			break
		}
	}
}

// A directory with all kinds of mailboxes and files.
func TestReadFS(t *testing.T) {
	t.Parallel()
	const from = "From tls@sender.example Mon Mar  2 00:00:00 2026\n"
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	dir := fstest.MapFS{
		"a.json":                       file(numberedText(t, "a")),
		"b/deep/b.json.gz":             file(string(zip(t, []byte(numberedText(t, "b"))))),
		"c.eml":                        file(mailed(t, "c")),
		"d.mbox":                       file(from + mailed(t, "d1") + "\n" + from + mailed(t, "d2")),
		"e/cur/1772409600.M1P1.mx:2,S": file(mailed(t, "e1")),
		"e/new/1772409600.M2P1.mx":     file(mailed(t, "e2")),
		"e/tmp/1772409600.M3P1.mx":     file(mailed(t, "e3")),
		"e/dovecot-uidlist":            file("3 V1"),
		"e/.Sub/cur/1":                 file(mailed(t, "f1")),
		"e/.Sub/new/2":                 file(mailed(t, "f2")),
		"e/.Sub/tmp/3":                 file(mailed(t, "f3")),
		"tmp/g.json":                   file(numberedText(t, "g")),
		".hidden":                      file("x"),
		"link":                         {Data: []byte("a.json"), Mode: fs.ModeSymlink},
		"z.txt":                        file("hello"),
	}
	got := collect(report.ReadFS(dir))
	want := []string{"a", "b", "c", "d1", "d2", "f1", "f2", "e1", "e2", "g", "!read z.txt: report: neither JSON nor gzip nor a mail message"}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	for _, err := range report.ReadFS(unreadable{dir}) {
		var pathErr *fs.PathError
		if !errors.As(err, &pathErr) || !errors.Is(err, fs.ErrPermission) {
			t.Errorf("the error is %v", err)
		}
	}
}

// unreadable has files that cannot be opened.
type unreadable struct{ fs.FS }

func (u unreadable) Open(name string) (fs.File, error) {
	if info, err := fs.Stat(u.FS, name); err == nil && info.IsDir() {
		return u.FS.Open(name)
	}
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
}

// An mbox yields the same as its messages one by one, however they are split into lines.
func FuzzRead(f *testing.F) {
	const from = "From a Mon Mar  2 00:00:00 2026\n"
	f.Add([]byte(mailed(f, "1")), []byte(mailed(f, "2")))
	f.Add([]byte("{}{}"), []byte("A: b\n\n>From x"))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		if strings.Contains("\n"+string(a)+"\n"+string(b), "\nFrom ") || strings.Contains("\n"+string(a)+"\n"+string(b), "\n>") {
			return
		}
		count := func(received string) (reports []report.Report) {
			for r, err := range report.Read(strings.NewReader(received)) {
				if (r == nil) == (err == nil) {
					t.Fatalf("%v, %v", r, err)
				}
				if r != nil {
					reports = append(reports, *r)
				}
			}
			return reports
		}
		together := count(fmt.Sprintf("%s%s\n\n%s%s", from, a, from, b))
		apart := append(count(from+string(a)+"\n\n"), count(from+string(b))...)
		if !reflect.DeepEqual(together, apart) {
			t.Errorf("%d reports together, %d apart", len(together), len(apart))
		}
	})
}
