package sql

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Error is a problem at a place of a statement.
type Error struct {
	Offset  int    // in bytes, from 0
	Line    int    // from 1
	Column  int    // in characters, from 1
	Message string // one line: what is wrong, and what was expected
	Hint    string // one line: the nearest thing that works; may be empty

	text string // the statement
}

// NewError returns an error at an offset of a statement. The binder and the planner use it, so that
// all errors of a report look the same.
func NewError(text string, offset int, message, hint string) *Error {
	offset = max(0, min(offset, len(text)))
	start := strings.LastIndexByte(text[:offset], '\n') + 1
	return &Error{
		Offset:  offset,
		Line:    1 + strings.Count(text[:offset], "\n"),
		Column:  1 + utf8.RuneCountInString(text[start:offset]),
		Message: hideSecrets(message),
		Hint:    hint,
		text:    hideSecrets(text),
	}
}

// secrets are the passwords of URLs, and what stands behind a word such as password= in a
// connection string or in options.
var secrets = []*regexp.Regexp{
	regexp.MustCompile(`://[^/\s'"@:]*:([^\s'"@]+)@`),
	regexp.MustCompile(`(?i)(?:password|passwd|pwd|secret|secret_access_key|session_token|access_token|api_key)(?:\s*=>?\s*'+|=)([^\s'"&,;()]+)`),
}

// hideSecrets replaces secrets by as many stars as they have bytes.
func hideSecrets(text string) string {
	for _, x := range secrets {
		for _, at := range x.FindAllStringSubmatchIndex(text, -1) {
			text = text[:at[2]] + strings.Repeat("*", at[3]-at[2]) + text[at[3]:]
		}
	}
	return text
}

// Error returns the error in one line.
func (e *Error) Error() string {
	s := fmt.Sprintf("line %d, column %d: %s", e.Line, e.Column, e.Message)
	if e.Hint != "" {
		s += " (" + e.Hint + ")"
	}
	return s
}

// excerptWidth is how many columns of a long line Render shows.
const excerptWidth = 96

// Render returns the error in several lines: the message, the line of the statement with a caret
// under the place, and the hint. A long line is cut around the place. Tabs and control characters
// become spaces; wide characters count as two columns.
//
//	line 2, column 7: unexpected "WHRE"; expected a comma or a clause
//	  FROM t WHRE a = 1
//	         ^
//	hint: did you mean WHERE?
func (e *Error) Render() string {
	var b strings.Builder
	fmt.Fprintf(&b, "line %d, column %d: %s\n", e.Line, e.Column, e.Message)
	start := strings.LastIndexByte(e.text[:e.Offset], '\n') + 1
	before, after := e.text[start:e.Offset], e.text[e.Offset:]
	if i := strings.IndexByte(after, '\n'); i >= 0 {
		after = after[:i]
	}
	left, width := lastColumns(before, excerptWidth*2/3)
	right := firstColumns(after, max(excerptWidth-width, excerptWidth/3))
	b.WriteString("  " + left + right + "\n  " + strings.Repeat(" ", width) + "^\n")
	if e.Hint != "" {
		b.WriteString("hint: " + e.Hint + "\n")
	}
	return b.String()
}

// lastColumns returns the end of s, cut with a mark to at most limit columns, and its width.
func lastColumns(s string, limit int) (string, int) {
	width, i := 0, len(s)
	for i > 0 {
		r, size := utf8.DecodeLastRuneInString(s[:i])
		if width+columns(r) > limit {
			return "…" + printable(s[i:]), width + 1
		}
		width += columns(r)
		i -= size
	}
	return printable(s), width
}

// firstColumns returns the start of s, cut with a mark to at most limit columns.
func firstColumns(s string, limit int) string {
	width := 0
	for i, r := range s {
		if width+columns(r) > limit {
			return printable(s[:i]) + "…"
		}
		width += columns(r)
	}
	return printable(strings.TrimRight(s, " \t\r"))
}

// printable replaces each character that would move the cursor by a space.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) && !unicode.Is(unicode.M, r) {
			return ' '
		}
		return r
	}, s)
}

// wide holds the ranges of characters that take two columns on a terminal.
var wide = &unicode.RangeTable{
	R16: []unicode.Range16{
		{0x1100, 0x115f, 1}, {0x231a, 0x231b, 1}, {0x23e9, 0x23ec, 1}, {0x2e80, 0x303e, 1}, {0x3041, 0x33ff, 1},
		{0x3400, 0x4dbf, 1}, {0x4e00, 0x9fff, 1}, {0xa000, 0xa4cf, 1}, {0xa960, 0xa97f, 1}, {0xac00, 0xd7a3, 1},
		{0xf900, 0xfaff, 1}, {0xfe30, 0xfe6f, 1}, {0xff00, 0xff60, 1}, {0xffe0, 0xffe6, 1},
	},
	R32: []unicode.Range32{{0x16fe0, 0x18cff, 1}, {0x1b000, 0x1b2ff, 1}, {0x1f300, 0x1f64f, 1}, {0x1f680, 0x1f6ff, 1},
		{0x1f900, 0x1f9ff, 1}, {0x1fa70, 0x1faff, 1}, {0x20000, 0x3fffd, 1}},
}

// columns returns how many columns printable shows for a character.
func columns(r rune) int {
	switch {
	case r < utf8.RuneSelf:
		return 1
	case unicode.In(r, unicode.Mn, unicode.Me):
		return 0
	case unicode.Is(wide, r):
		return 2
	}
	return 1
}
