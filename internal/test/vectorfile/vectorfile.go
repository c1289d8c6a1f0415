// Package vectorfile writes test vectors for other implementations, and reads them as these
// do. A file is an array of cases in JSON. A case is an object with the fields of an input and
// those of the correct result.
package vectorfile

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"testing"
)

var write = flag.Bool("write", false, "write the test vectors in testdata")

// Check computes the results of the inputs in a file with answer, and compares them with
// those in the file. With -write, it first writes the file from inputs and their results. I and
// R are structs, and share no field.
func Check[I, R any](t *testing.T, file string, inputs []I, answer func(*testing.T, I) R) {
	t.Helper()
	if *write {
		lines := make([][]byte, len(inputs))
		for i, input := range inputs {
			lines[i] = vector(t, input, answer(t, input))
		}
		text := append(append([]byte("[\n"), bytes.Join(lines, []byte(",\n"))...), "\n]\n"...)
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var cases []json.RawMessage
	if err := json.Unmarshal(text, &cases); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	if len(cases) != len(inputs) {
		t.Errorf("%s has %d vectors, want %d; go test -run TestVectors -write . writes them", file, len(cases), len(inputs))
	}
	for i, want := range cases {
		var input I
		if err := json.Unmarshal(want, &input); err != nil {
			t.Fatalf("vector %d: %v", i, err)
		}
		if got := vector(t, input, answer(t, input)); !bytes.Equal(got, want) {
			t.Errorf("%s, vector %d:\n%s, want\n%s", file, i, got, want)
		}
	}
}

// vector returns a case on one line: the fields of input, and then those of result.
func vector(t *testing.T, input, result any) []byte {
	t.Helper()
	head, tail := marshal(t, input), marshal(t, result)
	head = head[:len(head)-1]
	if len(head) > len("{") && len(tail) > len("{}") {
		head = append(head, ',')
	}
	return append(head, tail[1:]...)
}

// marshal returns v in JSON that people can read.
func marshal(t *testing.T, v any) []byte {
	t.Helper()
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		t.Fatal(err)
	}
	return bytes.TrimSpace(b.Bytes())
}
