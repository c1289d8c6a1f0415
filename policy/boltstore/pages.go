package boltstore

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"io"
	"math"
)

// The file has no list of its free pages, because that would be written with each
// transaction. So bbolt finds them when it opens the file for writing, by a walk over all
// others. If that walk finds damage, bbolt ends the process: it panics in a goroutine of
// its own. Therefore the pages are checked before, by a reader that trusts nothing: each
// page is visited once at most, and each length is checked before it is used.

// The form of bbolt's pages. All numbers are in the byte order of the machine.
const (
	metaMagic   = 0xED0CDAED
	metaVersion = 2
	metaSum     = 56 // octets of a meta page's content before its checksum

	pageHeader    = 16 // id, flags, number of elements, number of further pages
	elementHeader = 16 // of the elements of branches and leaves
	bucketHeader  = 16 // of the value of a bucket: its root and a counter

	flagBranch = 1
	flagLeaf   = 2
	flagFree   = 16 // the list of free pages in older files

	elementIsBucket = 1

	noFreeList = math.MaxUint64
	metaPages  = 2
	maxDepth   = 64
)

var number = binary.NativeEndian

// metadata is the content of a meta page.
type metadata struct{ root, freeList, pages, transaction uint64 }

// checkPages checks all pages of a database that can be reached, and that none of them is
// in the list of free pages, if there is one.
func checkPages(file io.ReaderAt, size int64, pageSize int) error {
	if pageSize < 512 || size < int64(metaPages*pageSize) {
		return fmt.Errorf("%w: %d octets in pages of %d", ErrDamaged, size, pageSize)
	}
	m, err := readMetadata(file, pageSize)
	if err != nil {
		return err
	}
	if m.pages > uint64(size)/uint64(pageSize) {
		return fmt.Errorf("%w: it is truncated to %d octets, and has %d pages of %d", ErrDamaged, size, m.pages, pageSize)
	}
	w := &pageWalk{file: file, size: pageSize, pages: m.pages, seen: make([]uint64, m.pages/64+1)}
	if _, err := w.tree(m.root, nil, nil, 0); err != nil {
		return err
	}
	if m.freeList == noFreeList {
		return nil
	}
	return w.freeList(m.freeList)
}

// readMetadata returns the content of the meta page that bbolt uses: that of the last
// transaction, unless it is damaged.
func readMetadata(file io.ReaderAt, pageSize int) (last metadata, err error) {
	found := false
	for i := range int64(metaPages) {
		page := make([]byte, pageHeader+metaSum+8)
		if _, err := file.ReadAt(page, i*int64(pageSize)); err != nil {
			return last, err
		}
		content := page[pageHeader:]
		sum := fnv.New64a()
		sum.Write(content[:metaSum])
		if number.Uint32(content) != metaMagic || number.Uint32(content[4:]) != metaVersion || number.Uint64(content[metaSum:]) != sum.Sum64() {
			continue
		}
		m := metadata{
			root: number.Uint64(content[16:]), freeList: number.Uint64(content[32:]),
			pages: number.Uint64(content[40:]), transaction: number.Uint64(content[48:]),
		}
		if !found || m.transaction > last.transaction {
			last, found = m, true
		}
	}
	if !found {
		return last, fmt.Errorf("%w: no meta page is valid", ErrDamaged)
	}
	return last, nil
}

// pageWalk visits pages.
type pageWalk struct {
	file    io.ReaderAt
	size    int // of a page
	pages   uint64
	seen    []uint64 // a bit for each page that is in use
	buffers [maxDepth + 1][]byte
}

// tree checks the pages of a tree of keys, which are at least min and below max, if these
// are not nil. It returns the last key, which is valid until the next call.
func (w *pageWalk) tree(id uint64, min, max []byte, depth int) (last []byte, err error) {
	if depth > maxDepth {
		return nil, w.damaged(id, "the tree is too deep")
	}
	page, err := w.page(id, depth)
	if err != nil {
		return nil, err
	}
	n := int(number.Uint16(page[10:]))
	switch number.Uint16(page[8:]) {
	case flagBranch:
		if n == 0 {
			return nil, w.damaged(id, "a branch without elements")
		}
		return w.branch(id, page, n, min, max, depth)
	case flagLeaf:
		return w.leaf(id, page, n, min, max, depth)
	default:
		return nil, w.damaged(id, "neither a branch nor a leaf")
	}
}

// page reads a page and those that it extends to, which must not have been seen before.
func (w *pageWalk) page(id uint64, depth int) ([]byte, error) {
	header := make([]byte, pageHeader)
	if id < metaPages || id >= w.pages {
		return nil, w.damaged(id, "there is no such page")
	}
	if _, err := w.file.ReadAt(header, int64(id)*int64(w.size)); err != nil {
		return nil, err
	}
	further := uint64(number.Uint32(header[12:]))
	if number.Uint64(header) != id || further >= w.pages-id {
		return nil, w.damaged(id, "its header is wrong")
	}
	for i := id; i <= id+further; i++ {
		if !w.mark(i) {
			return nil, w.damaged(i, "it is in use twice")
		}
	}
	length := int(further+1) * w.size
	if cap(w.buffers[depth]) < length {
		w.buffers[depth] = make([]byte, length)
	}
	page := w.buffers[depth][:length]
	_, err := w.file.ReadAt(page, int64(id)*int64(w.size))
	return page, err
}

// mark marks a page as seen. It reports whether it was not.
func (w *pageWalk) mark(id uint64) bool {
	isNew := w.seen[id/64]&(1<<(id%64)) == 0
	w.seen[id/64] |= 1 << (id % 64)
	return isNew
}

func (w *pageWalk) branch(id uint64, page []byte, n int, min, max []byte, depth int) (last []byte, err error) {
	last = min
	for i := range n {
		key, child, ok := branchElement(page, i)
		next := max
		if ok && i+1 < n {
			next, _, ok = branchElement(page, i+1)
		}
		if !ok || !inOrder(key, last, max, i == 0) {
			return nil, w.damaged(id, "its keys are not in order")
		}
		if last, err = w.tree(child, key, next, depth+1); err != nil {
			return nil, err
		}
		if last == nil {
			last = key
		}
	}
	return last, nil
}

// branchElement returns the key and the page of an element of a branch.
func branchElement(page []byte, i int) (key []byte, child uint64, ok bool) {
	at := pageHeader + i*elementHeader
	if at+elementHeader > len(page) {
		return nil, 0, false
	}
	e := page[at:]
	key, ok = cut(e, number.Uint32(e), number.Uint32(e[4:]))
	return key, number.Uint64(e[8:]), ok
}

func (w *pageWalk) leaf(id uint64, page []byte, n int, min, max []byte, depth int) (last []byte, err error) {
	for i := range n {
		flags, key, value, ok := leafElement(page, i)
		previous := last
		if i == 0 {
			previous = min
		}
		if !ok || !inOrder(key, previous, max, i == 0) {
			return nil, w.damaged(id, "its keys are not in order")
		}
		last = key
		if flags&elementIsBucket == 0 {
			continue
		}
		if err := w.bucket(id, value, depth); err != nil {
			return nil, err
		}
	}
	return last, nil
}

// leafElement returns an element of a leaf.
func leafElement(page []byte, i int) (flags uint32, key, value []byte, ok bool) {
	at := pageHeader + i*elementHeader
	if at+elementHeader > len(page) {
		return 0, nil, nil, false
	}
	e := page[at:]
	begin, keySize, size := number.Uint32(e[4:]), number.Uint32(e[8:]), number.Uint32(e[12:])
	both, ok := cut(e, begin, keySize+size)
	if !ok || keySize > keySize+size {
		return 0, nil, nil, false
	}
	return number.Uint32(e), both[:keySize], both[keySize:], true
}

// cut returns size octets from begin on.
func cut(from []byte, begin, size uint32) ([]byte, bool) {
	end := uint64(begin) + uint64(size)
	if end > uint64(len(from)) {
		return nil, false
	}
	return from[begin:end:end], true
}

// inOrder reports whether a key follows the one before it, or is at least the first one
// permitted, and is below max.
func inOrder(key, previous, max []byte, isFirst bool) bool {
	order := 1
	if previous != nil {
		order = bytes.Compare(key, previous)
	}
	return (order > 0 || isFirst && order == 0) && (max == nil || bytes.Compare(key, max) < 0)
}

// bucket checks a bucket that is the value of a leaf's element. A small one is in the
// value itself, as a page.
func (w *pageWalk) bucket(id uint64, value []byte, depth int) error {
	if len(value) < bucketHeader {
		return w.damaged(id, "a bucket without a header")
	}
	if root := number.Uint64(value); root != 0 {
		_, err := w.tree(root, nil, nil, depth+1)
		return err
	}
	page := value[bucketHeader:]
	if len(page) < pageHeader || number.Uint16(page[8:]) != flagLeaf {
		return w.damaged(id, "a bucket without a page")
	}
	var last []byte
	for i := range int(number.Uint16(page[10:])) {
		flags, key, _, ok := leafElement(page, i)
		if !ok || flags&elementIsBucket != 0 || !inOrder(key, last, nil, i == 0) {
			return w.damaged(id, "the keys of a bucket in it are not in order")
		}
		last = key
	}
	return nil
}

// freeList checks that no page in use is in the list of free pages, because it would be
// overwritten.
func (w *pageWalk) freeList(id uint64) error {
	page, err := w.page(id, 0)
	if err != nil {
		return err
	}
	list, n := page[pageHeader:], uint64(number.Uint16(page[10:]))
	if n == math.MaxUint16 { // the number is in the list
		n, list = number.Uint64(list), list[8:]
	}
	if number.Uint16(page[8:]) != flagFree || n > uint64(len(list)/8) {
		return w.damaged(id, "it is not a list of free pages")
	}
	for i := range n {
		if free := number.Uint64(list[8*i:]); free < metaPages || free >= w.pages || !w.mark(free) {
			return w.damaged(free, "it is in use or does not exist, and in the list of free pages")
		}
	}
	return nil
}

func (w *pageWalk) damaged(id uint64, why string) error {
	return fmt.Errorf("%w: page %d: %s", ErrDamaged, id, why)
}
