package report

import (
	"bufio"
	"encoding/csv"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/layshaft/layshaft/internal/plain"
	"github.com/layshaft/layshaft/report/internal/expr"
)

// WriteOptions change how rows are written.
type WriteOptions struct {
	// Width is the width of the terminal in characters, for a table. Zero means no limit.
	Width int
	// MaxRows is the most rows; a larger result is an error. Zero means no limit.
	MaxRows int64
}

// Write writes all rows in a format: table or csv. It blocks until the end of the run.
func (r *Rows) Write(w io.Writer, format string, o WriteOptions) error {
	texts := func(yield func([]string) error) error {
		n := int64(0)
		for b, err := range r.batches {
			if err != nil {
				return located(r.text, err)
			}
			if n += int64(b.N); o.MaxRows > 0 && n > o.MaxRows {
				return fmt.Errorf("the result has more than %d rows; add LIMIT, or allow more", o.MaxRows)
			}
			for i := range b.N {
				row := make([]string, len(b.Cols))
				for c, v := range b.Cols {
					if !v.Null(i) {
						row[c] = string(expr.AppendText(nil, v, i))
					}
				}
				if err := yield(row); err != nil {
					return err
				}
			}
		}
		return nil
	}
	names := make([]string, len(r.columns))
	for i, c := range r.columns {
		names[i] = c.Name
	}
	switch format {
	case "csv":
		out := csv.NewWriter(w)
		if err := out.Write(names); err != nil {
			return err
		}
		if err := texts(out.Write); err != nil {
			return err
		}
		out.Flush()
		return out.Error()
	case "table":
		rows := [][]string{names}
		if err := texts(func(row []string) error { rows = append(rows, slices.Clone(row)); return nil }); err != nil {
			return err
		}
		return r.table(w, rows)
	}
	return fmt.Errorf("output format %q is not known; use table or csv", format)
}

// table writes aligned columns, numbers to the right.
func (r *Rows) table(w io.Writer, rows [][]string) error {
	widths := make([]int, len(r.columns))
	for _, row := range rows {
		for i, cell := range row {
			row[i] = plain.Text(cell)
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i]))
		}
	}
	out := bufio.NewWriter(w)
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if r.fields[i].Type.IsNumber() {
				cell = pad + cell
			} else {
				cell += pad
			}
			if i > 0 {
				line.WriteString("  ")
			}
			line.WriteString(cell)
		}
		if _, err := fmt.Fprintln(out, strings.TrimRight(line.String(), " ")); err != nil {
			return err
		}
	}
	return out.Flush()
}
