package report

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"iter"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/mxseal/mxseal/tlsrpt/report/internal/envelope"
)

// Read reads all reports in r: what [Parse] reads, a message with several reports, several
// reports in JSON one after another, or an mbox. What cannot be read comes as an error with
// a nil report, in its place, and the rest is read all the same. Messages without a report
// are errors that wrap [ErrNoReport]. A message of an mbox may have [MaxSize] octets, and
// so may anything else as a whole.
func Read(r io.Reader) iter.Seq2[*Report, error] {
	return func(yield func(*Report, error) bool) {
		buffered := bufio.NewReaderSize(r, maxLine)
		if start, _ := buffered.Peek(len(mboxFrom)); string(start) == mboxFrom {
			readMbox(buffered, yield)
			return
		}
		data, err := readBounded(buffered)
		if err != nil {
			yield(nil, err)
			return
		}
		readAll(data, yield)
	}
}

// ReadFS reads all reports in the files of a directory and of those below it, in the order
// of their names: single reports, messages, mboxes and Maildirs, mixed in any way. Each
// file is read by [Read]; errors are of type *fs.PathError. Hidden files, the incomplete
// messages and the other files of a Maildir, and what is not a regular file are left out.
func ReadFS(fsys fs.FS) iter.Seq2[*Report, error] {
	return func(yield func(*Report, error) bool) {
		// Walking ends early by SkipAll only. Other errors were yielded.
		_ = fs.WalkDir(fsys, ".", func(name string, entry fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return unless(yield(nil, atPath(name, err)))
			case entry.IsDir() && entry.Name() == "tmp" && isMaildir(fsys, path.Dir(name)):
				return fs.SkipDir
			case !entry.Type().IsRegular() || strings.HasPrefix(entry.Name(), ".") || isMaildir(fsys, path.Dir(name)):
				return nil
			}
			return unless(readFile(fsys, name, yield))
		})
	}
}

// unless returns the error that ends a walk unless it goes on.
func unless(goesOn bool) error {
	if goesOn {
		return nil
	}
	return fs.SkipAll
}

// isMaildir reports whether a directory is a Maildir. Its files, outside the directories
// of messages, belong to the mail server.
func isMaildir(fsys fs.FS, dir string) bool {
	for _, name := range []string{"cur", "new"} {
		if info, err := fs.Stat(fsys, path.Join(dir, name)); err != nil || !info.IsDir() {
			return false
		}
	}
	return true
}

// readFile yields the reports in one file. It reports whether to go on.
func readFile(fsys fs.FS, name string, yield func(*Report, error) bool) bool {
	file, err := fsys.Open(name)
	if err != nil {
		return yield(nil, atPath(name, err))
	}
	defer file.Close()
	for r, err := range Read(file) {
		if err != nil {
			err = atPath(name, err)
		}
		if !yield(r, err) {
			return false
		}
	}
	return true
}

func atPath(name string, err error) error {
	var known *fs.PathError
	if errors.As(err, &known) {
		return err
	}
	return &fs.PathError{Op: "read", Path: name, Err: err}
}

// readAll yields all reports in what was received. It reports whether to go on.
func readAll(data []byte, yield func(*Report, error) bool) bool {
	texts, failed := open(data)
	number := 0
	for _, text := range texts {
		for ; envelope.IsJSON(text); number++ {
			if number == maxTogether {
				return yield(nil, ErrTooLarge)
			}
			r, rest, err := parseJSON(text)
			if !yield(r, err) {
				return false
			}
			text = rest
		}
	}
	return failed == nil || yield(nil, failed)
}

// maxTogether is the greatest number of reports in one message or file.
const maxTogether = 10_000

const (
	mboxFrom = "From "
	maxLine  = 64 << 10 // of a buffer; a longer line comes in pieces
)

// fromLine matches the line that begins a message of an mbox. Some programs leave lines in
// messages unquoted that begin with "From ", so it must have a time and a year.
var fromLine = regexp.MustCompile(`^From .*[0-9]:[0-9][0-9].* [0-9]{4}`)

// readMbox yields the reports in an mbox (RFC 4155).
func readMbox(r *bufio.Reader, yield func(*Report, error) bool) {
	var message bytes.Buffer
	flush := func() bool {
		defer message.Reset()
		switch {
		case message.Len() == 0:
			return true
		case message.Len() > MaxSize:
			return yield(nil, ErrTooLarge)
		default:
			return readAll(slices.Clone(message.Bytes()), yield)
		}
	}
	afterEmpty, inLine := true, false
	for {
		line, err := r.ReadSlice('\n')
		if afterEmpty && fromLine.Match(line) && !flush() {
			return
		}
		if message.Len() <= MaxSize {
			message.Write(unquoted(line, inLine))
		}
		afterEmpty = !inLine && len(bytes.TrimRight(line, "\r\n")) == 0
		inLine = errors.Is(err, bufio.ErrBufferFull)
		switch {
		case err == io.EOF:
			flush()
			return
		case err != nil && !inLine:
			yield(nil, &Error{"", err})
			return
		}
	}
}

// unquoted removes the mark with which an mbox quotes lines like its first.
func unquoted(line []byte, inLine bool) []byte {
	if !inLine && bytes.HasPrefix(line, []byte(">")) && bytes.HasPrefix(bytes.TrimLeft(line, ">"), []byte(mboxFrom)) {
		return line[1:]
	}
	return line
}
