package identity

import (
	"fmt"
	"strings"

	"golang.org/x/net/idna"
)

// checkALabel tells whether a label with "--" in its third and fourth place is
// a valid A-label (RFC 5890 §2.3.2.1, RFC 5891 §5.4): it decodes, its code
// points are allowed, and encoding it again gives the same label. Every other
// such label is reserved.
func checkALabel(label string) error {
	if !strings.HasPrefix(label, "xn--") {
		return fmt.Errorf("label %q: hyphens in third and fourth place are reserved (RFC 5890 §2.3.1)", label)
	}
	unicode, err := idna.Registration.ToUnicode(label)
	if err != nil {
		return fmt.Errorf("label %q is not a valid A-label", label)
	}
	again, err := idna.Registration.ToASCII(unicode)
	if err != nil || again != label || unicode == label {
		return fmt.Errorf("label %q is not a valid A-label", label)
	}
	return nil
}
