// Package stanza cuts text into paragraphs of keys and values, as in the control files of Debian.
//
//	Package: layshaft
//	Description: MapReduce for Go
//	 It runs inside your program,
//	 .
//	 or on a cluster.
package stanza

import (
	"bytes"
	"strings"
	"unsafe"
)

// KeyOf returns the length of the key at the start of a line of a stanza, such as Package in
// Package: layshaft. It is 0 if the line has no key.
func KeyOf(line []byte) int {
	for i, c := range line {
		switch {
		case c == ':':
			if i+1 < len(line) && line[i+1] != ' ' && line[i+1] != '\t' && line[i+1] != '\r' {
				return 0
			}
			return i
		case c <= ' ' || c >= 0x7f || i == 0 && (c == '#' || c == '-') || strings.IndexByte(`,;"{}[]()<>=`, c) >= 0:
			return 0
		}
	}
	return 0
}

// Each calls member with the key and the value of each line of a text, and end after each
// paragraph with its start and end in text. It returns the position after the last whole paragraph;
// last reports that text ends with one. Continuation lines begin with a blank, which is not a part
// of the value; a lone dot there is an empty line.
func Each(text []byte, last bool, member func(key, value string), end func(from, to int) error) (took int, err error) {
	for at := 0; at < len(text); {
		n, next := End(text, at, last)
		if n < 0 {
			return at, nil
		}
		key, value, found := "", "", false
		flush := func() {
			if found {
				member(key, value)
			}
			found = false
		}
		for rest := text[at:n]; len(rest) > 0; {
			line := rest
			if i := bytes.IndexByte(rest, '\n'); i >= 0 {
				line, rest = rest[:i], rest[i+1:]
			} else {
				rest = nil
			}
			line = bytes.TrimRight(line, "\r")
			switch k := KeyOf(line); {
			case len(line) == 0 || line[0] == '#':
			case line[0] == ' ' || line[0] == '\t':
				more := string(bytes.TrimRight(line[1:], " \t"))
				if more == "." {
					more = ""
				}
				value += "\n" + more
			case k == 0:
				flush()
				key, value, found = "", unsafe.String(unsafe.SliceData(line), len(line)), true
			default:
				flush()
				v := bytes.Trim(line[k+1:], " \t")
				key, value, found = unsafe.String(unsafe.SliceData(line), k), unsafe.String(unsafe.SliceData(v), len(v)), true
			}
		}
		flush()
		if err := end(at, n); err != nil {
			return at, err
		}
		at = next
	}
	return len(text), nil
}

// End returns the end of the paragraph at a position, and the start of the next one. n is -1
// if the text ends before.
func End(text []byte, at int, last bool) (n, next int) {
	for i := at; ; {
		feed := bytes.IndexByte(text[i:], '\n')
		if feed < 0 {
			if last {
				return len(text), len(text)
			}
			return -1, at
		}
		i += feed + 1
		k := i
		for k < len(text) && (text[k] == '\r' || text[k] == ' ' || text[k] == '\t') {
			k++
		}
		switch {
		case k == len(text) && !last:
			return -1, at
		case k == len(text):
			return len(text), len(text)
		case text[k] == '\n':
			return i, k + 1
		}
	}
}

// Start returns the position of the first paragraph that starts in a block of a larger text, or -1
// if the block does not show one. A paragraph at position 0 does not count.
func Start(block []byte) int {
	if _, next := End(block, 0, false); next > 0 && next < len(block) {
		return next
	}
	return -1
}
