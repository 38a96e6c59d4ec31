package dashboard

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/layshaft/layshaft/internal/bytesize"
	"github.com/layshaft/layshaft/internal/plain"
)

// preview shows the beginning of the input or result of a task: JSON indented, text as it is, other
// bytes as a dump.
type preview struct {
	Kind string // JSON, text, bytes or nothing
	Text string
	Cut  string // what is not shown, in words; empty when all is
	Line string // the beginning in one line, for a table
}

const (
	// maxDump is the limit of bytes in a dump.
	maxDump = 256
	// maxLine is the limit of characters in a line.
	maxLine = 80
)

// newPreview returns the preview of size bytes that begin with b.
func newPreview(b []byte, size int) *preview {
	p := &preview{Kind: "text"}
	shown := len(b)
	whole := shown >= size
	if !whole {
		b = trimRune(b)
	}
	var indented bytes.Buffer
	switch {
	case size == 0:
		return &preview{Kind: "nothing", Line: "–"}
	case !isText(b):
		p.Kind, shown = "bytes", min(len(b), maxDump)
		p.Text = hex.Dump(b[:shown])
		p.Line = fmt.Sprintf("%d bytes: % x", size, b[:min(len(b), 12)])
		if size > 12 {
			p.Line += " …"
		}
	case whole && json.Indent(&indented, b, "", "  ") == nil && (b[0] == '{' || b[0] == '['):
		p.Kind, p.Text = "JSON", indented.String()
	default:
		p.Text = string(b)
	}
	if shown < size {
		p.Cut = fmt.Sprintf("The first %s of %s.", bytesize.Format(int64(shown)), bytesize.Format(int64(size)))
	}
	if p.Line == "" {
		line := []rune(plain.Text(strings.Join(strings.Fields(string(b[:min(len(b), 8*maxLine)])), " ")))
		if p.Line = string(line[:min(len(line), maxLine)]); len(line) > maxLine || !whole {
			p.Line += " …"
		}
	}
	return p
}

// trimRune drops a character at the end that is not complete.
func trimRune(b []byte) []byte {
	for n := 1; n < utf8.UTFMax && n <= len(b); n++ {
		if c := b[len(b)-n]; utf8.RuneStart(c) {
			if c >= utf8.RuneSelf && !utf8.FullRune(b[len(b)-n:]) {
				return b[:len(b)-n]
			}
			break
		}
	}
	return b
}

// isText reports whether bytes are for people: UTF-8 without control characters.
func isText(b []byte) bool {
	if !utf8.Valid(b) {
		return false
	}
	for _, c := range b {
		if c < ' ' && c != '\n' && c != '\t' && c != '\r' {
			return false
		}
	}
	return true
}
