package mark

import (
	"fmt"
	"testing"
)

// M3: a change of a domain is seen by all of its earlier marks, and few others are affected.
func TestM3MarkSeesChanges(t *testing.T) {
	t.Parallel()
	m := New()
	if (Mark{}).Unchanged() {
		t.Error("the zero Mark is unchanged")
	}
	const n = 1000
	marks := make([]Mark, n)
	for i := range marks {
		marks[i] = m.Of(fmt.Sprint("d", i))
	}
	m.Change("d7")
	others := 0
	for i, mark := range marks {
		if !mark.Unchanged() && i != 7 {
			others++
		}
	}
	if marks[7].Unchanged() || others > n/100 {
		t.Errorf("d7 is unchanged: %v; %d others have changed", marks[7].Unchanged(), others)
	}
	if again := m.Of("d7"); !again.Unchanged() {
		t.Error("a mark made after the change has changed")
	}
	m.ChangeAll()
	for i, mark := range marks {
		if mark.Unchanged() {
			t.Errorf("d%d is unchanged", i)
		}
	}
}
