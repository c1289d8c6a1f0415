package mutate

import "fmt"

// Mutant is one change of the code.
type Mutant struct {
	ID     int    // 1 for the first of a package
	File   string // its path in the module
	Line   int
	Func   string // the function, as "T.Method" for a method
	Change string // what the code says, and what it says instead
}

// Key names the mutant as long as the code stays the same, wherever it is in its file.
func (m Mutant) Key() string { return fmt.Sprintf("%s %s: %s", m.File, m.Func, m.Change) }

// String returns the line and the change.
func (m Mutant) String() string {
	return fmt.Sprintf("%s:%d %s: %s", m.File, m.Line, m.Func, m.Change)
}
