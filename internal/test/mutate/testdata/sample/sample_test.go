package sample

import "testing"

func TestCheck(t *testing.T) {
	for _, tt := range []struct {
		octets, limit int
		strict        bool
		want          int
		ok            bool
	}{{1, 2, true, 1, true}, {2, 2, true, 2, true}, {3, 2, true, 0, false}, {3, 2, false, 2, true}, {1, 2, false, 1, true}} {
		if got, err := Check(tt.octets, tt.limit, tt.strict); got != tt.want || (err == nil) != tt.ok {
			t.Errorf("%+v: %d, %v", tt, got, err)
		}
	}
}

func TestSum(t *testing.T) {
	if got := Sum([]int{1, 2}, false); got != 3 {
		t.Errorf("the sum is %d", got)
	}
}
