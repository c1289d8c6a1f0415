package mtasts

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// fakeStore has the entry of one domain, or an error.
type fakeStore struct {
	entry   Entry
	getErr  error
	err     error // of Put and Delete
	puts    []Entry
	deletes int
}

func (f *fakeStore) Get(context.Context, string) (Entry, error) { return f.entry, f.getErr }

func (f *fakeStore) Put(_ context.Context, e Entry) error {
	f.puts = append(f.puts, e)
	return f.err
}

func (f *fakeStore) Delete(context.Context, string) error {
	f.deletes++
	return f.err
}

func (f *fakeStore) All(context.Context) iter.Seq2[Entry, error] {
	return func(func(Entry, error) bool) {}
}

// fakeLeaser is a fakeStore that Clients share.
type fakeLeaser struct {
	fakeStore
	leaseErr error
}

func (f *fakeLeaser) Lease(context.Context, string, time.Duration) (func(), bool, error) {
	return nil, false, f.leaseErr
}

// storageOf returns a storage for a store, and its events, which are never left out.
func storageOf(store Store, key string) (*storage, *[]Event) {
	events := new([]Event)
	now := noon
	config := Config{
		Store: store, Memory: minMemory, Logger: slog.New(slog.DiscardHandler), OnEvent: func(e Event) { *events = append(*events, e) },
		Now: func() time.Time { now = now.Add(quietTime); return now },
	}
	if key != "" {
		config.StoreKey = []byte(key)
	}
	st := newStorage(config, newNotifier(config), func() {})
	st.now = func() time.Time { return noon }
	return st, events
}

// anEntry returns a valid entry.
func anEntry(t *testing.T) Entry {
	t.Helper()
	s := aState(t, Enforce, "mx", noon.Add(-time.Minute))
	s.used = true
	s.checkAt(noon.Add(time.Minute))
	return s.entry()
}

const aKey = "0123456789abcdef"

// M1: whether the store may have a policy that is not known. An entry that was there once is
// not absent, whatever the store said before.
func TestM1StoreThatFailsMayHavePolicy(t *testing.T) {
	t.Parallel()
	store := &fakeStore{getErr: ErrNotStored}
	st, events := storageOf(store, "")
	read := func(what string, unread, answered, inForce, failing bool) {
		t.Helper()
		s := st.read(t.Context(), "example.com")
		if s.unread != unread || s.answered != answered || (s.policy != nil) != inForce || st.failing.Load() != failing {
			t.Errorf("%s: unread %t, answered %t, policy %v, failing %t", what, s.unread, s.answered, s.policy, st.failing.Load())
		}
	}
	read("no entry", false, true, false, false)
	store.getErr = errors.New("disk failed")
	read("failure after no entry", true, true, false, true)
	store.entry, store.getErr = anEntry(t), nil
	read("an entry", false, true, true, false)
	store.getErr = errors.New("disk failed")
	read("failure after an entry", true, false, false, true)
	if len(*events) != 2 || (*events)[1].Kind != StoreFailed || (*events)[1].Domain != "example.com" || (*events)[1].Err == nil {
		t.Errorf("%+v", *events)
	}

	// What this Client puts is an entry as well.
	store.getErr = ErrNotStored
	read("no entry again", false, true, false, false)
	if !st.write(t.Context(), &state{}, aState(t, Enforce, "mx", noon)) {
		t.Error("not written")
	}
	store.getErr = errors.New("disk failed")
	read("failure after a write", true, false, false, true)

	// A caller that leaves says nothing about the store.
	st, events = storageOf(store, "")
	left, leave := context.WithCancel(t.Context())
	leave()
	if s := st.read(left, "example.com"); !s.unread || st.failing.Load() || len(*events) != 0 {
		t.Errorf("a caller that leaves: unread %t, failing %t, events %+v", s.unread, st.failing.Load(), *events)
	}
}

// M1: a store that can be read again is noticed once.
func TestM1StoreIsBackOnce(t *testing.T) {
	t.Parallel()
	store := &fakeStore{getErr: errors.New("disk failed")}
	st, _ := storageOf(store, "")
	back := 0
	st.back = func() { back++ }
	s := st.read(t.Context(), "example.com")
	store.getErr = ErrNotStored
	for range 3 {
		st.read(t.Context(), "example.org")
	}
	if back != 1 || !st.isBack(s) || st.isBack(&state{unread: true, epoch: st.epoch.Load()}) {
		t.Errorf("back %d times; epoch %d", back, st.epoch.Load())
	}
}

// M2: an entry that is not valid is an event and not used. It is removed from a store that
// is not shared; in a shared one, another Client may have replaced it by now.
func TestM2InvalidEntryIsRemovedUnlessShared(t *testing.T) {
	t.Parallel()
	valid := anEntry(t)
	for name, change := range map[string]func(*Entry){
		"another domain":    func(e *Entry) { e.Domain = "example.org" },
		"a malformed id":    func(e *Entry) { e.ID = "?" },
		"no time":           func(e *Entry) { e.Fetched = time.Time{} },
		"no policy":         func(e *Entry) { e.Text = "version: STSv2\n" },
		"an octet too many": func(e *Entry) { e.Text += strings.Repeat("x", MaxPolicySize+1-len(e.Text)) },
	} {
		e := valid
		change(&e)
		for _, shared := range []bool{false, true} {
			alone := &fakeStore{entry: e}
			var store Store = alone
			if shared {
				leaser := &fakeLeaser{fakeStore: *alone}
				store, alone = leaser, &leaser.fakeStore
			}
			st, events := storageOf(store, "")
			s := st.read(t.Context(), "example.com")
			if s.policy != nil || s.unread || !s.answered || (alone.deletes == 0) != shared {
				t.Errorf("%s, shared %t: %+v, deleted %d times", name, shared, s, alone.deletes)
			}
			if len(*events) != 1 || !errors.Is((*events)[0].Err, errEntry) {
				t.Errorf("%s, shared %t: events %+v", name, shared, *events)
			}
		}
	}

	store := &fakeStore{entry: Entry{Domain: "example.org"}, err: errors.New("disk failed")}
	st, events := storageOf(store, "")
	st.read(t.Context(), "example.com")
	if len(*events) != 2 || (*events)[1].Err != store.err {
		t.Errorf("an entry that cannot be removed: events %+v", *events)
	}

	largest := valid
	largest.Text += "x: " + strings.Repeat("x", MaxPolicySize-len(largest.Text)-len("x: \n")) + "\n"
	if _, err := restore(largest, "example.com", noon); err != nil || len(largest.Text) != MaxPolicySize {
		t.Errorf("a policy of %d octets: %v", len(largest.Text), err)
	}

	// Without the tag of a Client with the key, the entry is as if it could not be read. That
	// is no failure of the store.
	for name, tag := range map[string]string{"no tag": "", "another tag": valid.tag([]byte("another key of 24 octets"))} {
		e := valid
		e.Tag = tag
		store := &fakeStore{entry: e}
		st, events := storageOf(store, aKey)
		if s := st.read(t.Context(), "example.com"); s.policy != nil || !s.unread || s.answered || st.failing.Load() || store.deletes != 0 || len(*events) != 1 {
			t.Errorf("%s: %+v, failing %t, events %+v", name, s, st.failing.Load(), *events)
		}
	}
}

// What an entry says is taken over only as far as it can be true.
func TestM2RestoredStateBelievesLittle(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(*Entry)
		holds  func(*state) bool
	}{
		"as it was put": {func(*Entry) {}, func(s *state) bool {
			return s.used && s.next.Equal(noon.Add(time.Minute)) && s.problems == nil && s.behind == 0
		}},
		"not used":       {func(e *Entry) { e.Used = false }, func(s *state) bool { return !s.used }},
		"another expiry": {func(e *Entry) { e.Expires = noon.Add(1000 * time.Hour) }, func(s *state) bool { return s.expires().Equal(noon.Add(59 * time.Minute)) }},
		"a check after a day": {func(e *Entry) {
			e.Text = strings.Replace(e.Text, "3600", "604800", 1)
			e.NextCheck = noon.Add(24 * time.Hour)
		}, func(s *state) bool { return s.next.Equal(noon.Add(24 * time.Hour)) }},
		"a check after more": {func(e *Entry) {
			e.Text = strings.Replace(e.Text, "3600", "604800", 1)
			e.NextCheck = noon.Add(24*time.Hour + 1)
		}, func(s *state) bool { return s.next.IsZero() }},
		"a check after its end":  {func(e *Entry) { e.NextCheck = noon.Add(2 * time.Hour) }, func(s *state) bool { return s.next.Equal(noon.Add(59 * time.Minute)) }},
		"noticed":                {func(e *Entry) { e.Noticed = noon.Add(-time.Hour) }, func(s *state) bool { return s.behind == noon.Add(-time.Hour).UnixMilli() }},
		"fewer than no failures": {func(e *Entry) { e.Failed, e.Failures = -1, []Failure{{ID: "1"}} }, func(s *state) bool { return s.problems.failed == 0 && s.problems.err == nil && !s.problems.failing() }},
		"failing without one":    {func(e *Entry) { e.Failed, e.FailingSince = 3, noon }, func(s *state) bool { return s.problems == nil }},
		"failing": {func(e *Entry) {
			e.Failed, e.FailingSince = 3, noon
			e.Failures = []Failure{{ID: "1", When: noon, Kind: KindPolicy, ReasonCode: "policy-mode", Detail: "a\nb"}, {ID: "2", When: noon, Kind: KindDNS}}
		}, func(s *state) bool {
			p := s.problems
			first, last := p.failures[0], p.failures[1]
			return p.failed == 3 && p.since.Equal(noon) && p.err == error(last.err) && last.id == "2" && last.err.Kind == KindFetch &&
				first.err.Kind == KindPolicy && first.err.Domain == "example.com" && first.err.ReasonCode == "policy-mode" && !strings.Contains(first.err.Err.Error(), "\n")
		}},
		"a certificate": {func(e *Entry) { e.Failures = []Failure{{ID: "1", Kind: KindCertificate}} }, func(s *state) bool { return s.problems.failures[0].err.Kind == KindCertificate }},
		"many failures": {func(e *Entry) {
			for i := range 5 {
				e.Failures = append(e.Failures, Failure{ID: fmt.Sprint(i), When: noon})
			}
		}, func(s *state) bool { return len(s.problems.failures) == 3 && s.problems.failures[0].id == "2" }},
	} {
		e := anEntry(t)
		test.change(&e)
		s, err := restore(e, "example.com", noon)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if !test.holds(s) {
			t.Errorf("%s: %+v, %+v", name, s, s.problems)
		}
	}
}

// STS-98: each change that a restart must not lose is written, and no other.
func TestStoreGetsWhatRestartMustNotLose(t *testing.T) {
	t.Parallel()
	other := aState(t, Testing, "mx", noon).policy
	for name, test := range map[string]struct {
		change func(*state)
		want   bool
	}{
		"nothing":               {func(*state) {}, false},
		"when to ask DNS":       {func(s *state) { s.next = noon.Add(time.Minute) }, false},
		"the policy":            {func(s *state) { s.policy = other }, true},
		"the id":                {func(s *state) { s.id = "2" }, true},
		"the time of the fetch": {func(s *state) { s.fetched = s.fetched.Add(time.Millisecond) }, true},
		"that it is in use":     {func(s *state) { s.used = true }, true},
		"a clock that is wrong": {func(s *state) { s.behind = 1 }, true},
		"a failed fetch":        {func(s *state) { s.fetchFailed(aFailure("2", noon)) }, true},
		"that it has expired":   {func(s *state) { s.policy = nil }, false},
	} {
		store := new(fakeStore)
		st, _ := storageOf(store, "")
		old := aState(t, Enforce, "mx", noon)
		next := *old
		test.change(&next)
		if !st.write(t.Context(), old, &next) || (len(store.puts) == 1) != test.want {
			t.Errorf("%s: %d writes", name, len(store.puts))
		}
	}

	// One more failure, with and without a tag.
	for _, key := range []string{"", aKey} {
		store := new(fakeStore)
		st, events := storageOf(store, key)
		old := aState(t, Enforce, "mx", noon)
		old.fetchFailed(aFailure("2", noon))
		next := *old
		failed := *old.problems
		next.problems = &failed
		next.fetchFailed(aFailure("2", noon.Add(time.Minute)))
		st.write(t.Context(), old, &next)
		if len(store.puts) != 1 {
			t.Fatalf("%d writes", len(store.puts))
		}
		e := store.puts[0]
		if e.Failed != 2 || !e.FailingSince.Equal(noon) || len(e.Failures) != 2 || e.Failures[1].ReasonCode != "http-2" || e.Failures[1].Kind != KindFetch ||
			!e.Expires.Equal(noon.Add(time.Hour)) || !e.Noticed.IsZero() || (e.Tag != "") != (key != "") || key != "" && !e.isTagged([]byte(key)) {
			t.Errorf("%+v", e)
		}
		old.unsaved = true
		store.err = errors.New("disk failed")
		if st.write(t.Context(), old, old) || len(store.puts) != 2 || len(*events) != 1 || (*events)[0].Kind != StoreFailed {
			t.Errorf("a state that is unsaved: %d writes, events %+v", len(store.puts), *events)
		}
	}
}

// A lease that could not be asked for is an event, unless the caller has left.
func TestLeaseFailureIsAnEvent(t *testing.T) {
	t.Parallel()
	st, events := storageOf(&fakeLeaser{leaseErr: errors.New("away")}, "")
	left, leave := context.WithCancel(t.Context())
	leave()
	if _, ok, err := st.lease(left, "example.com", time.Minute); ok || err == nil || len(*events) != 0 {
		t.Errorf("a caller that has left: %t, %v, events %+v", ok, err, *events)
	}
	if _, ok, err := st.lease(t.Context(), "example.com", time.Minute); ok || err == nil || len(*events) != 1 || (*events)[0].Domain != "example.com" {
		t.Errorf("%t, %v, events %+v", ok, err, *events)
	}
	if s := st.leases.stats(); s.Count != 2 || s.Failed != 2 {
		t.Errorf("%d leases were asked for, of which %d failed", s.Count, s.Failed)
	}
	st, events = storageOf(new(fakeLeaser), "")
	if _, ok, err := st.lease(t.Context(), "example.com", time.Minute); ok || err != nil || len(*events) != 0 {
		t.Errorf("the lease of another Client: %t, %v, events %+v", ok, err, *events)
	}
}
