package names

import "crypto/x509/pkix"

// maxAttributes is how many attributes of a distinguished name are shown. Names in public
// certificates have up to fifteen.
const maxAttributes = 16

// Distinguished returns a name in a certificate as pkix.Name.String does, but with the last
// attributes only if there are many: they come first in the text. The time that
// pkix.Name.String takes grows with the square of their number, and a certificate of a hostile
// server has room for thousands, which took several seconds. The text is not bounded, and has
// the characters that the certificate has.
func Distinguished(name pkix.Name) string {
	if over := len(name.Names) - maxAttributes; over > 0 {
		name = pkix.Name{ExtraNames: name.Names[over:]}
	}
	return name.String()
}
