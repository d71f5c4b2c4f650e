package config

import (
	"fmt"
	"io/fs"
	"strconv"
)

// Mode are a file's permissions, written in octal: 0640.
type Mode fs.FileMode

// UnmarshalText reads three or four octal digits.
func (m *Mode) UnmarshalText(text []byte) error {
	v, err := strconv.ParseUint(string(text), 8, 32)
	if err != nil || len(text) < 3 || len(text) > 4 || v > 0o777 {
		return fmt.Errorf("permissions are three or four octal digits, such as 0640")
	}
	if v&0o400 == 0 {
		return fmt.Errorf("with these permissions their owner cannot read the files")
	}
	*m = Mode(v)
	return nil
}

// MarshalText is String.
func (m Mode) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// String is the mode in four octal digits; "" for none.
func (m Mode) String() string {
	if m == 0 {
		return ""
	}
	return fmt.Sprintf("%04o", uint32(m))
}
