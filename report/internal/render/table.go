package render

import (
	"bufio"
	"fmt"
	"sort"
	"strings"
	"unicode/utf8"

	"github.com/layshaft/layshaft/internal/plain"
	"github.com/layshaft/layshaft/report/internal/vec"
)

// table writes an aligned table for a terminal:
//
//	category │    n │   value
//	─────────┼──────┼────────
//	shoes    │ 1204 │ 9120.50
//	hats     │   17 │    NULL
//	(2 rows)
//
// The first rows decide how wide the columns are. A text that does not fit ends with …; a number is
// never cut. If the terminal has no room for all columns, each row becomes a list of its values.
type table struct {
	out     *bufio.Writer
	options Options
	columns []vec.Field
	heads   []string
	rows    [][]string // the first rows, until the widths are known
	widths  []int      // nil until they are known
	list    bool       // one line for each value
	n       int
	buf     []byte
}

const (
	// tableSample is the number of rows that decide the widths of columns.
	tableSample = 1000
	// minColumn is the least width to which a column is cut.
	minColumn = 6
	separator = " │ "
)

func (t *table) Begin(columns []vec.Field) error {
	t.columns = columns
	for _, c := range columns {
		t.heads = append(t.heads, cleaned(c.Name))
	}
	return nil
}

func (t *table) Write(rows *vec.Batch) error {
	for i := range rows.N {
		row := make([]string, len(rows.Cols))
		for c, v := range rows.Cols {
			s, null := text(v, i, t.buf)
			t.buf = s
			if row[c] = cleaned(string(s)); null {
				row[c] = "NULL"
			}
		}
		if t.widths != nil {
			if err := t.line(row); err != nil {
				return err
			}
			continue
		}
		if t.rows = append(t.rows, row); len(t.rows) == tableSample {
			if err := t.start(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (t *table) End() error {
	if t.widths == nil {
		if err := t.start(); err != nil {
			return err
		}
	}
	if t.n == 1 {
		t.out.WriteString("(1 row)\n")
	} else {
		fmt.Fprintf(t.out, "(%d rows)\n", t.n)
	}
	return t.out.Flush()
}

// start chooses the widths, and writes the head and the first rows.
func (t *table) start() error {
	t.widths = make([]int, len(t.columns))
	for c, head := range t.heads {
		t.widths[c] = plain.Width(head)
	}
	for _, row := range t.rows {
		for c, s := range row {
			t.widths[c] = max(t.widths[c], plain.Width(s))
		}
	}
	t.fit()
	if !t.list {
		for c, head := range t.heads {
			if c > 0 {
				t.out.WriteString(separator)
			}
			t.cell(head, c, c == len(t.heads)-1)
		}
		t.out.WriteByte('\n')
		for c, w := range t.widths {
			switch {
			case c == 0:
				t.out.WriteString(strings.Repeat("─", w))
			default:
				t.out.WriteString("─┼─" + strings.Repeat("─", w))
			}
		}
		t.out.WriteByte('\n')
	}
	for _, row := range t.rows {
		if err := t.line(row); err != nil {
			return err
		}
	}
	t.rows = nil
	return nil
}

// fit makes columns narrower until the table fits the terminal: no text column is wider than a
// limit, which is as large as possible.
func (t *table) fit() {
	cut := func(c int) bool { return !isRight(t.columns[c].Type) }
	for c, w := range t.widths {
		if t.options.MaxColumn > 0 && cut(c) {
			t.widths[c] = min(w, t.options.MaxColumn)
		}
	}
	total := func(limit int) int {
		sum := max(0, len(t.widths)-1) * plain.Width(separator)
		for c, w := range t.widths {
			if cut(c) {
				w = min(w, limit)
			}
			sum += w
		}
		return sum
	}
	const most = 1 << 30
	if t.options.Width == 0 || total(most) <= t.options.Width {
		return
	}
	if total(minColumn) > t.options.Width && len(t.widths) > 1 {
		t.list = true
		return
	}
	limit := minColumn + sort.Search(t.options.Width, func(n int) bool { return total(minColumn+n+1) > t.options.Width })
	rest := t.options.Width - total(limit)
	for c, w := range t.widths {
		if !cut(c) || w <= limit {
			continue
		}
		t.widths[c] = limit
		if rest > 0 {
			t.widths[c]++
			rest--
		}
	}
}

// line writes one row.
func (t *table) line(row []string) error {
	t.n++
	if t.list {
		return t.record(row)
	}
	for c, s := range row {
		if c > 0 {
			t.out.WriteString(separator)
		}
		t.cell(s, c, c == len(row)-1)
	}
	return t.out.WriteByte('\n')
}

// cell writes a value with the width of its column. The last one of a line has no spaces behind it.
func (t *table) cell(s string, c int, last bool) {
	w := plain.Width(s)
	right := isRight(t.columns[c].Type)
	if w > t.widths[c] && !right && t.options.Width+t.options.MaxColumn > 0 {
		s, w = plain.Cut(s, t.widths[c])
	}
	pad := max(0, t.widths[c]-w)
	if right {
		spaces(t.out, pad)
		t.out.WriteString(s)
		return
	}
	t.out.WriteString(s)
	if !last {
		spaces(t.out, pad)
	}
}

func spaces(out *bufio.Writer, n int) {
	for range n {
		out.WriteByte(' ')
	}
}

// record writes a row as a list of names and values.
func (t *table) record(row []string) error {
	names := 0
	for _, head := range t.heads {
		names = max(names, plain.Width(head))
	}
	names = min(names, max(minColumn, t.options.Width/2))
	title := fmt.Sprintf("── row %d ", t.n)
	t.out.WriteString(title + strings.Repeat("─", max(2, min(t.options.Width, names+24)-utf8.RuneCountInString(title))) + "\n")
	for c, s := range row {
		head, w := plain.Cut(t.heads[c], names)
		t.out.WriteString(head)
		spaces(t.out, names-w)
		if room := max(minColumn, t.options.Width-names-3); !isRight(t.columns[c].Type) {
			if t.options.MaxColumn > 0 {
				room = min(room, t.options.MaxColumn)
			}
			s, _ = plain.Cut(s, room)
		}
		t.out.WriteString(separator + s + "\n")
	}
	return nil
}

// cleaned returns s without control characters: they are shown as \xHH, and spaces and line ends as
// a space each.
func cleaned(s string) string {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x7f {
			return plain.Text(lineEnds.Replace(s))
		}
	}
	return s
}

var lineEnds = strings.NewReplacer("\r\n", " ", "\n", " ", "\t", " ")
