// Package sample has one line for each kind of mutant.
package sample

import "errors"

var errLong = errors.New("too long")

// Check is tested thoroughly.
func Check(octets, limit int, strict bool) (int, error) {
	if octets > limit && strict {
		return 0, errLong
	}
	return min(octets, limit), nil
}

// Sum is tested badly.
func Sum(list []int, double bool) int {
	sum := 0
	for _, n := range list {
		if n < 0 {
			continue
		}
		sum += n
	}
	if double || len(list) == 0 {
		return sum + sum
	}
	return sum
}
