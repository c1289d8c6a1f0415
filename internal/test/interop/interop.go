// Package interop contains what all tests against other programs use.
package interop

import (
	"fmt"
	"os"
	"os/exec"
	"testing"
)

// Need returns the path of a program that a test requires. If the program is
// missing, NeedThat decides what happens.
func Need(t testing.TB, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	NeedThat(t, err == nil, "it needs the program %s: %v", program, err)
	return path
}

// NeedThat skips the test if a condition does not hold, so that "go test ./..."
// works on any machine. If the environment promises the comparison (CI=true or
// MXSEAL_INTEROP=1), the test fails instead.
func NeedThat(t testing.TB, condition bool, format string, args ...any) {
	t.Helper()
	if condition {
		return
	}
	if os.Getenv("CI") == "true" || Complete() {
		t.Fatalf("the test cannot run: "+format, args...)
	}
	NotCompared(t, format, args...)
	t.Skipf(format, args...)
}

// Complete reports whether the environment asks for everything to be compared
// (MXSEAL_INTEROP=1). Otherwise tests compare a part, to be quick.
func Complete() bool { return os.Getenv("MXSEAL_INTEROP") == "1" }

// NotCompared says, in one line, what a test leaves out of its comparison, and
// why. The go command hides the output of packages that pass, except with -v or in
// the directory of the package. Therefore, the line also goes to the end of the
// file that MXSEAL_NOT_COMPARED names; .ci/test prints that file.
func NotCompared(t testing.TB, format string, args ...any) {
	t.Helper()
	line := fmt.Sprintf("NOT COMPARED: %s: %s\n", t.Name(), fmt.Sprintf(format, args...))
	fmt.Print(line)
	name := os.Getenv("MXSEAL_NOT_COMPARED")
	if name == "" {
		return
	}
	file, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o666)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.WriteString(line); err != nil {
		t.Fatal(err)
	}
}
