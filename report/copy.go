package report

import (
	"context"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
	"github.com/parquet-go/parquet-go/compress/gzip"
	"github.com/parquet-go/parquet-go/compress/uncompressed"
	"github.com/parquet-go/parquet-go/compress/zstd"

	"github.com/layshaft/layshaft/internal/files"
	"github.com/layshaft/layshaft/internal/filesys"
	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/report/internal/render"
	"github.com/layshaft/layshaft/report/internal/sql"
	"github.com/layshaft/layshaft/report/internal/vec"
)

// copyFormats are the formats of COPY by the ending of the file.
var copyFormats = map[string]string{
	".csv": "csv", ".tsv": "tsv", ".json": "json", ".jsonl": "jsonl", ".ndjson": "jsonl", ".md": "markdown", ".html": "html", ".parquet": "parquet",
}

const copyFormatList = "csv, tsv, json, jsonl, markdown, html or parquet"

// copying is a COPY whose options are checked.
type copying struct {
	path      string
	format    string
	codec     files.Codec // of a text format
	options   render.Options
	parquet   render.Parquet // its Codec and RowGroup
	overwrite bool
	partition []string // names of columns
	columns   []int    // their numbers
	offset    int      // of PARTITION_BY in the statement
}

// copyOption is an option of COPY. set stores its values, and returns what is wrong with them.
type copyOption struct {
	names   string // separated by spaces
	formats string // the formats that have it; empty means all
	set     func(c *copying, values []string) string
}

var copyOptions = []copyOption{
	{"format", "", func(c *copying, v []string) string {
		c.format = strings.ToLower(oneOf(v))
		for _, known := range copyFormats {
			if c.format == known {
				return ""
			}
		}
		if c.format == "ndjson" {
			c.format = "jsonl"
			return ""
		}
		return "expected " + copyFormatList
	}},
	{"partition_by", "", func(c *copying, v []string) string {
		if c.partition = v; len(v) == 0 {
			return "expected names of columns, such as (year, month)"
		}
		return ""
	}},
	{"overwrite", "", func(c *copying, v []string) (problem string) {
		c.overwrite, problem = yesNo(v)
		return problem
	}},
	{"header", "csv tsv", func(c *copying, v []string) string {
		yes, problem := yesNo(v)
		c.options.NoHeader = !yes
		return problem
	}},
	{"delimiter delim sep", "csv tsv", func(c *copying, v []string) string {
		text := oneOf(v)
		if text == `\t` {
			text = "\t"
		}
		if len(text) != 1 || strings.ContainsAny(text, "\"\n\r") || text[0] >= 0x80 {
			return "expected one ASCII character that is no quote and no line break"
		}
		c.options.Comma = text[0]
		return ""
	}},
	{"compression codec", "csv tsv json jsonl markdown html parquet", func(c *copying, v []string) string {
		switch strings.ToLower(oneOf(v)) {
		case "zstd":
			c.codec, c.parquet.Codec = files.Zstd, &zstd.Codec{Level: zstd.SpeedFastest}
		case "gzip":
			c.codec, c.parquet.Codec = files.Gzip, &gzip.Codec{}
		case "none", "uncompressed":
			c.codec, c.parquet.Codec = files.Plain, &uncompressed.Codec{}
		default:
			return "expected zstd, gzip or none"
		}
		return ""
	}},
	{"row_group_size", "parquet", func(c *copying, v []string) string {
		n, err := strconv.Atoi(oneOf(v))
		if err != nil || n < 1 {
			return "expected a number of rows, such as 100000"
		}
		c.parquet.RowGroup = n
		return ""
	}},
}

// oneOf returns the only value; empty if there is none, or several.
func oneOf(values []string) string {
	if len(values) == 1 {
		return values[0]
	}
	return ""
}

// yesNo returns the value of an option that may stand alone.
func yesNo(values []string) (yes bool, problem string) {
	if len(values) == 0 {
		return true, ""
	}
	switch strings.ToLower(oneOf(values)) {
	case "true", "on", "1":
		return true, ""
	case "false", "off", "0":
		return false, ""
	}
	return false, "expected true or false"
}

// checkCopy checks the options of a COPY in a statement. fields are the columns of the query.
func checkCopy(text string, st *sql.Copy, fields []vec.Field) (*copying, error) {
	fail := func(at int, hint, format string, args ...any) error {
		return sql.NewError(text, at, "COPY: "+fmt.Sprintf(format, args...), hint)
	}
	c := &copying{path: st.Path, codec: files.BySuffix(st.Path), offset: st.Offset}
	c.parquet.RowGroup = 0
	seen := map[string]*sql.Option{}
	for _, o := range st.Options {
		i := slices.IndexFunc(copyOptions, func(k copyOption) bool { return slices.Contains(strings.Fields(k.names), o.Name) })
		if i < 0 {
			var names []string
			for _, k := range copyOptions {
				names = append(names, strings.ToUpper(strings.Fields(k.names)[0]))
			}
			return nil, fail(o.Offset, "options are "+strings.Join(names, ", "), "there is no option %s", strings.ToUpper(o.Name))
		}
		name := strings.Fields(copyOptions[i].names)[0]
		if seen[name] != nil {
			return nil, fail(o.Offset, "", "the option %s occurs twice", strings.ToUpper(o.Name))
		}
		seen[name] = o
		if problem := copyOptions[i].set(c, o.Values); problem != "" {
			value := strings.Join(o.Values, ", ")
			if value == "" {
				value = "nothing"
			}
			return nil, fail(o.Offset, "", "%s has %s; %s", strings.ToUpper(o.Name), value, problem)
		}
	}
	if c.format == "" {
		name := strings.TrimSuffix(c.path, files.BySuffix(c.path).Suffix())
		if c.format = copyFormats[strings.ToLower(path.Ext(name))]; c.format == "" {
			return nil, fail(st.Offset, "add (FORMAT csv), or another of tsv, json, jsonl, markdown, html, parquet", "the ending of %q names no format", c.path)
		}
	}
	for _, k := range copyOptions {
		name := strings.Fields(k.names)[0]
		if o := seen[name]; o != nil && k.formats != "" && !slices.Contains(strings.Fields(k.formats), c.format) {
			return nil, fail(o.Offset, name+" is for "+strings.ReplaceAll(k.formats, " ", " and "), "%s has no meaning for %s", strings.ToUpper(o.Name), c.format)
		}
	}
	if o := seen["partition_by"]; o != nil {
		c.offset = o.Offset
	}
	return c, c.findColumns(fields, fail)
}

// findColumns finds the columns of PARTITION_BY.
func (c *copying) findColumns(fields []vec.Field, fail func(at int, hint, format string, args ...any) error) error {
	var names []string
	for _, f := range fields {
		names = append(names, f.Name)
	}
	for _, name := range c.partition {
		i := slices.Index(names, name)
		if i < 0 {
			i = slices.IndexFunc(names, func(n string) bool { return strings.EqualFold(n, name) })
		}
		switch {
		case i < 0:
			return fail(c.offset, "columns are "+strings.Join(names, ", "), "PARTITION_BY: the query has no column %q", name)
		case slices.Contains(c.columns, i):
			return fail(c.offset, "", "PARTITION_BY: the column %q occurs twice", name)
		case fields[i].Type.Kind >= vec.List:
			return fail(c.offset, "choose a column with single values", "PARTITION_BY: the column %q is a %s", name, fields[i].Type)
		}
		c.columns = append(c.columns, i)
	}
	switch {
	case len(c.columns) == 0:
		return nil
	case len(c.columns) == len(fields):
		return fail(c.offset, "leave a column for the files", "PARTITION_BY names all columns")
	case c.format == "markdown" || c.format == "html":
		return fail(c.offset, "use csv, tsv, json, jsonl or parquet", "PARTITION_BY: %s makes one page", c.format)
	case filesys.Scheme(c.path) != "":
		return fail(c.offset, "choose a directory of this machine, and copy it", "PARTITION_BY cannot write to %s", c.path)
	}
	return nil
}

// sink returns the writer of one file.
func (c *copying) sink(w *files.Writer, title string) (render.Writer, error) {
	if c.format != "parquet" {
		o := c.options
		o.Title = title
		return render.New(c.format, w, o)
	}
	p := render.NewParquet(w)
	if c.parquet.Codec != nil {
		p.Codec = c.parquet.Codec
	}
	if c.parquet.RowGroup == 0 {
		return p, nil
	}
	p.RowGroup = c.parquet.RowGroup
	return &exactGroups{Parquet: p}, nil
}

// exactGroups cuts batches at the ends of row groups.
type exactGroups struct {
	*render.Parquet
	count int // rows of the open row group
}

// Write writes rows.
func (g *exactGroups) Write(b *vec.Batch) error {
	for start := 0; start < b.N; {
		n := min(g.RowGroup-g.count, b.N-start)
		part := b
		if n < b.N {
			rows := make([]int32, n)
			for i := range rows {
				rows[i] = int32(start + i)
			}
			part = b.Gather(rows)
		}
		if err := g.Parquet.Write(part); err != nil {
			return err
		}
		g.count = (g.count + n) % g.RowGroup
		start += n
	}
	return nil
}

// fileCodec returns the compression around the bytes of a sink.
func (c *copying) fileCodec() files.Codec {
	if c.format == "parquet" {
		return files.Plain // it compresses its pages
	}
	return c.codec
}

// isInput reports whether a file is one of the paths, or matches one of them. A directory is input
// if a path leads into it.
func isInput(paths []string, to string, dir bool) bool {
	clean := func(p string) string {
		if filesys.Scheme(p) == "" {
			if abs, err := filepath.Abs(p); err == nil {
				return filepath.ToSlash(abs)
			}
		}
		return path.Clean(p)
	}
	to = clean(to)
	for _, p := range paths {
		p = clean(p)
		if match, err := doublestar.Match(p, to); err == nil && match || p == to || dir && strings.HasPrefix(p, to+"/") {
			return true
		}
	}
	return false
}

// copyTo returns the result of COPY: the number of rows.
func (s *Statement) copyTo(c *copying) *textTable {
	return &textTable{[]string{"rows"}, func(ctx context.Context) ([][]string, error) {
		n := int64(0)
		err := mapreduce.WithFiles(ctx, s.target, func(ctx context.Context) error {
			switch {
			case mapreduce.Explains(s.target):
				for _, err := range s.run(ctx) {
					if err != nil {
						return err
					}
				}
				return nil
			case len(c.columns) > 0:
				return s.writePartitions(ctx, c, &n)
			}
			return s.writeFile(ctx, c, &n)
		})
		return [][]string{{strconv.FormatInt(n, 10)}}, err
	}}
}
