package scan

import (
	"encoding/binary"
	"unicode/utf8"
	"unsafe"
)

// isUTF8 is utf8.ValidString, but faster for short ASCII.
func isUTF8(s string) bool { return isASCII(s) || utf8.ValidString(s) }

// isASCII reports whether all bytes of s are below 0x80.
func isASCII(s string) bool {
	n := len(s)
	if n < 8 {
		for i := range n {
			if s[i] >= utf8.RuneSelf {
				return false
			}
		}
		return true
	}
	b := unsafe.Slice(unsafe.StringData(s), n)
	all := binary.LittleEndian.Uint64(b[n-8:])
	for ; len(b) > 8; b = b[8:] {
		all |= binary.LittleEndian.Uint64(b)
	}
	return all&0x8080808080808080 == 0
}
