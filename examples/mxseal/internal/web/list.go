package web

import (
	"iter"
	"slices"
	"strings"
)

// pageSize is how many rows a page shows.
const pageSize = 100

// window is the part of a list that a page shows: the rows with the smallest keys after a key. It keeps no
// other rows, so that a page about 100,000 domains takes no more memory than one about a hundred.
type window[T any] struct {
	Rows []T
	// Next is the key of the last row, if more rows follow.
	Next string
	// Total counts the rows of all pages. A row that comes twice counts twice.
	Total int
	// Contains is the text by which the list was filtered.
	Contains string

	keys []string
}

// look returns the window on the rows whose domain contains a text. row returns the key and the domain of an
// element, and false for an element that is not in the list.
func look[E, T any](all iter.Seq[E], q query, row func(E) (key, domain string, ok bool), show func(E) T) window[T] {
	w := window[T]{Contains: q.contains}
	var kept []E
	for element := range all {
		key, domain, ok := row(element)
		if !ok || !strings.Contains(domain, q.contains) {
			continue
		}
		w.Total++
		if key <= q.after || len(kept) > pageSize && key >= w.keys[pageSize] {
			continue
		}
		// One more than is shown, to know whether there are more.
		at, twice := slices.BinarySearch(w.keys, key)
		if twice {
			continue
		}
		w.keys = slices.Insert(w.keys, at, key)
		kept = slices.Insert(kept, at, element)
		if len(kept) > pageSize+1 {
			kept, w.keys = kept[:pageSize+1], w.keys[:pageSize+1]
		}
	}
	if len(kept) > pageSize {
		kept, w.Next = kept[:pageSize], w.keys[pageSize-1]
	}
	for _, element := range kept {
		w.Rows = append(w.Rows, show(element))
	}
	return w
}
