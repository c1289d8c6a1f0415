package names

import "strings"

// Fold returns a name with its ASCII letters in lower case and without its final dot.
// It checks nothing, and leaves other characters as they are: unlike strings.ToLower it
// does not turn the Kelvin sign into a k. A name that already has this form costs no
// allocation.
func Fold(name string) string {
	name = strings.TrimSuffix(name, ".")
	if IsASCII(name) {
		return strings.ToLower(name)
	}
	b := []byte(name)
	for i, c := range b {
		b[i] = lower(c)
	}
	return string(b)
}

// Equal reports whether two names in A-labels are the same name in DNS: in any case,
// and each with or without final dot. A name with characters other than ASCII equals no
// name.
func Equal(a, b string) bool {
	return EqualFold(strings.TrimSuffix(a, "."), strings.TrimSuffix(b, "."))
}

// EqualFold reports whether two texts in ASCII are equal in any case. A text with
// other characters equals no text: strings.EqualFold takes the Kelvin sign for
// a k.
func EqualFold(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		c := a[i]
		if c != b[i] {
			// Letters differ from their other case in one bit.
			if c ^= b[i]; c != 0x20 {
				return false
			}
			c = a[i] | 0x20
			if c < 'a' || c > 'z' {
				return false
			}
		}
		if c >= 0x80 {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}
