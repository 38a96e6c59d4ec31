package report

import (
	"fmt"
	"io"

	views "github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/report/internal/render"
)

// WriteOptions change how rows are written.
type WriteOptions struct {
	// Width is the width of the terminal in characters, for a table: longer texts are cut, and rows
	// that do not fit are written as lists. Zero means no limit.
	Width int
	// MaxRows is the most rows; a larger result is an error. Zero means no limit.
	MaxRows int64
}

// Formats returns the names of the output formats in alphabetical order.
func Formats() []string { return render.Formats() }

// Write writes all rows in a format:
//
//   - table: aligned columns for a terminal, with a last line that counts the rows
//   - csv, tsv: a header, then one line for each row. NULL is an empty field, an empty text is ""
//   - json, jsonl: an object for each row, in an array or one to a line
//   - markdown: a table
//   - html: one page with a table that can be sorted, and a chart if the result has its shape
//   - parquet: a file with the types of the columns, compressed with zstd
//
// It blocks until the end of the run.
func (r *Rows) Write(w io.Writer, format string, o WriteOptions) error {
	out, err := render.New(format, w, render.Options{Width: o.Width, Title: r.text})
	if err != nil {
		return err
	}
	return r.writeTo(out, o.MaxRows, new(int64))
}

// writeTo writes all rows, and counts them in n. More than most rows are an error, unless it is
// zero. A run that fails before its first row writes nothing.
func (r *Rows) writeTo(out render.Writer, most int64, n *int64) error {
	begun := false
	begin := func() error {
		if begun {
			return nil
		}
		begun = true
		return out.Begin(r.fields)
	}
	for b, err := range r.batches {
		if err != nil {
			return located(r.text, err)
		}
		if *n += int64(b.N); most > 0 && *n > most {
			return fmt.Errorf("the result has more than %s; add LIMIT, or allow more", views.Plural(most, "row"))
		}
		if err := begin(); err != nil {
			return err
		}
		if err := out.Write(b); err != nil {
			return err
		}
	}
	if err := begin(); err != nil {
		return err
	}
	return out.End()
}
