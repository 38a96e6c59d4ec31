package report

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/layshaft/layshaft/internal/files"
	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/report/internal/render"
	"github.com/layshaft/layshaft/report/internal/sql"
)

// copyFormats are the formats of COPY by the ending of the file.
var copyFormats = map[string]string{
	".csv": "csv", ".tsv": "tsv", ".json": "json", ".jsonl": "jsonl", ".ndjson": "jsonl", ".md": "markdown", ".html": "html", ".parquet": "parquet",
}

// copyFormat returns the format of a COPY: its option, or what the ending of the file says.
func copyFormat(c *sql.Copy) (string, error) {
	format := ""
	for _, o := range c.Options {
		switch {
		case o.Name == "format" && len(o.Values) == 1:
			format = strings.ToLower(o.Values[0])
		case o.Name == "header" && (len(o.Values) == 0 || o.Values[0] == "true"):
		default:
			return "", sql.NewError("", o.Offset, fmt.Sprintf("COPY: the option %s is not supported", o.Name), "the only option is FORMAT")
		}
	}
	if format != "" {
		for _, known := range copyFormats {
			if format == known {
				return format, nil
			}
		}
		return "", sql.NewError("", c.Offset, fmt.Sprintf("COPY: format %q is not known", format), "formats are csv, tsv, json, jsonl, markdown, html, parquet")
	}
	name := strings.TrimSuffix(c.Path, files.BySuffix(c.Path).Suffix())
	if f := copyFormats[strings.ToLower(path.Ext(name))]; f != "" {
		return f, nil
	}
	return "", sql.NewError("", c.Offset, fmt.Sprintf("COPY: the ending of %q names no format", c.Path), "add (FORMAT csv), or another of tsv, json, jsonl, markdown, html, parquet")
}

// isInput reports whether a file is one of the paths, or matches one of them.
func isInput(paths []string, to string) bool {
	to = path.Clean(to)
	for _, p := range paths {
		p = path.Clean(p)
		if match, err := doublestar.Match(p, to); err == nil && match || p == to {
			return true
		}
	}
	return false
}

// copyTo returns the result of COPY: the number of rows. The file appears when it is complete, and
// replaces an older one.
func (s *Statement) copyTo(c *sql.Copy, format string) *textTable {
	return &textTable{[]string{"rows"}, func(ctx context.Context) ([][]string, error) {
		n := int64(0)
		err := mapreduce.WithFiles(ctx, s.target, func(ctx context.Context) error { return s.writeFile(ctx, c.Path, format, &n) })
		return [][]string{{strconv.FormatInt(n, 10)}}, err
	}}
}

// writeFile writes the result to a file, and counts its rows.
func (s *Statement) writeFile(ctx context.Context, to, format string, n *int64) (err error) {
	codec := files.Plain
	if format != "parquet" {
		codec = files.BySuffix(to)
	}
	out := &files.One{Path: to, Compress: codec}
	if err := out.Check(ctx); err != nil {
		return err
	}
	const job = "report"
	w, err := out.Create(ctx, files.Task{Job: job, Of: 1, Attempt: 1})
	if err != nil {
		return err
	}
	closed := false
	defer func() {
		if !closed {
			w.Abort()
		}
		if err != nil {
			err = errors.Join(err, out.Abandon(context.WithoutCancel(ctx), job))
		}
	}()
	rows := &Rows{fields: s.queryFields(), text: s.s.Text, batches: s.run(ctx)}
	var sink render.Writer = render.NewParquet(w)
	if format != "parquet" {
		if sink, err = render.New(format, w, render.Options{Title: s.s.Text}); err != nil {
			return err
		}
	}
	if err := rows.writeTo(sink, 0, n); err != nil {
		return err
	}
	w.Records = *n
	closed = true
	part, err := w.Close()
	if err != nil {
		return err
	}
	return out.Finish(ctx, job, [][]byte{part})
}
