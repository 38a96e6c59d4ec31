package jsoncodec

import (
	"math/bits"
	"unicode/utf16"
	"unicode/utf8"
	"unsafe"
)

// plainEnd returns the end of the run of plain string bytes at i: a quote, a backslash or a control
// character. The line feed after the line is a control character too.
func plainEnd(p unsafe.Pointer, i int) int {
	for {
		if m := markSpecial(load(p, i)); m != 0 {
			return i + bits.TrailingZeros64(m)>>3
		}
		i += 8
	}
}

// plainText is plainEnd, and returns also the bytes of the run, ORed.
func plainText(p unsafe.Pointer, i int) (end int, all uint64) {
	for {
		w := load(p, i)
		if m := markSpecial(w); m != 0 {
			return i + bits.TrailingZeros64(m)>>3, all | w&(m&-m-1)
		}
		all |= w
		i += 8
	}
}

// skipString returns the end of the string whose content starts at i, or -1.
func (d *Decoder) skipString(i int) int {
	for {
		i = plainEnd(d.base, i)
		if at(d.base, i) == '"' {
			return i + 1
		}
		if _, i = d.readEscape(i); i < 0 {
			return -1
		}
	}
}

// readText returns the string whose content starts at i, and its end, or -1. A string without
// escapes aliases the line.
func (d *Decoder) readText(i int) (string, int) {
	end, all := plainText(d.base, i)
	d.texts |= all
	if at(d.base, end) == '"' {
		return d.slice(i, end), end + 1
	}
	d.texts = high // escape sequences make any character
	var b []byte
	for {
		b = append(b, d.slice(i, end)...)
		if at(d.base, end) == '"' {
			return string(b), end + 1
		}
		var r rune
		if r, i = d.readEscape(end); i < 0 {
			return "", -1
		}
		b = utf8.AppendRune(b, r)
		end = plainEnd(d.base, i)
	}
}

// slice returns the bytes from i to end without copying them.
func (d *Decoder) slice(i, end int) string {
	return unsafe.String((*byte)(unsafe.Add(d.base, i)), end-i)
}

// readEscape decodes the escape sequence at i and returns the character and the end of the
// sequence, or -1. Half a surrogate pair is returned as it is. utf8.AppendRune replaces it by
// U+FFFD, like encoding/json.
func (d *Decoder) readEscape(i int) (rune, int) {
	switch c := at(d.base, i); {
	case c == '\n' && i >= d.end:
		return 0, d.fail(i, "the end of the string")
	case c != '\\':
		return 0, d.fail(i, "no control character in a string")
	}
	const letters, chars = `"\/bfnrt`, "\"\\/\b\f\n\r\t"
	c := at(d.base, i+1)
	for k := range len(letters) {
		if letters[k] == c {
			return rune(chars[k]), i + 2
		}
	}
	r := d.readHex4(i)
	if r < 0 {
		return 0, d.fail(i, "an escape sequence")
	}
	i += 6
	if utf16.IsSurrogate(r) && at(d.base, i) == '\\' {
		if both := utf16.DecodeRune(r, d.readHex4(i)); both != utf8.RuneError {
			return both, i + 6
		}
	}
	return r, i
}

// readHex4 returns the code unit of the sequence \uXXXX at i, or -1.
func (d *Decoder) readHex4(i int) rune {
	if at(d.base, i+1) != 'u' {
		return -1
	}
	var r rune
	for k := i + 2; k < i+6; k++ {
		switch c := at(d.base, k); {
		case c-'0' <= 9:
			r = r<<4 + rune(c-'0')
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			r = r<<4 + rune(c|0x20-'a'+10)
		default:
			return -1
		}
	}
	return r
}
