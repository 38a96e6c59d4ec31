// Package scan reads files as batches of columns: it finds out the format, the columns and their
// types, and reads only the wanted columns.
//
// Resolve looks at a sample of all files. Its result, a Table, is plain data, so that the workers
// read what the client resolved. Table.Source returns the batches of some columns.
//
// A value that does not fit the type of its column is a bad record. Its error names the file, the
// line, the column and the value, and the type that would fit.
//
// # Formats
//
// The first bytes, the suffix or the content show the format:
//
//   - csv, tsv: delimiter, quote and header are found out. Columns are matched by name, so
//     files may have them in another order, and a column that a file lacks is NULL. An empty
//     cell is NULL; an empty cell in quotes is an empty text, or NULL for other types.
//   - json: JSON Lines, an array of records, or records of several lines. Missing keys and
//     null are NULL. Objects are structs, or maps if there are more than 12 keys and an object
//     has less than a quarter of them. Values of several kinds are text, or JSON text if some
//     are objects or lists.
//   - parquet, avro: the files have the types. Files may differ if one type holds all
//     values.
//   - stanza: paragraphs of lines such as Package: layshaft. Further lines of a value begin
//     with a blank. log: the common and the combined format of web servers. text: the column
//     line.
//
// All text may be compressed with gzip, zstd, bzip2 or xz. Folders such as year=2024 are columns if
// all files have the same ones.
//
// # Types
//
// The types of text are inferred from rows at the start and in the middle of up to 64 files.
// Columns of conflicting types are widened, at last to text.
//
//   - Whole numbers are bigint. Longer ones are decimal(38,0) in JSON, and text elsewhere.
//     Numbers with leading zeros are text.
//   - Numbers with at most 6 digits after the point are decimal(18,s), with s the most digits
//     of the sample. Others are double.
//   - true and false are boolean. ISO 8601 makes date, time, timestamp, and timestamptz if it
//     has an offset. A time without an offset beside others with one is in UTC.
package scan

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/layshaft/layshaft/internal/files"
	_ "github.com/layshaft/layshaft/internal/files/encodings"
	"github.com/layshaft/layshaft/internal/filesys"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/internal/spelling"
	"github.com/layshaft/layshaft/mapreduce/connector"
	"github.com/layshaft/layshaft/report/internal/vec"
)

// Request is what a FROM clause says.
type Request struct {
	// Paths are paths, globs and directories.
	Paths []string
	// Format is csv, tsv, json, parquet, avro, stanza, log or text. Empty means that the files
	// decide.
	Format string
	// Options are the options of the format, such as delim of csv, by their names in lower case.
	Options map[string]string
	// Types are the types of columns, by name, in place of the inferred ones.
	Types map[string]vec.Type
	// Sample is the number of rows that the types are inferred from; zero means 4,096.
	Sample int
	// Name is the name of the table in the query; empty means the name of the first file.
	Name string

	flat     bool   // folders are no columns
	encoding string // of text; empty means UTF-8
}

// Table is a resolved source. It is plain data for encoding/json.
type Table struct {
	Paths   []string          `json:"paths"`
	Format  string            `json:"format"`
	Options map[string]string `json:"options,omitempty"`
	Columns []vec.Field       `json:"columns"`
	// Encoding is the encoding of text, such as latin-1; empty means UTF-8.
	Encoding string `json:"encoding,omitempty"`
	// Unique are the columns of which nearly all values of the sample differ. It is only a hint.
	Unique []string `json:"unique,omitempty"`
	// Declared are the columns whose types were given and not inferred.
	Declared []string `json:"declared,omitempty"`
	// Casts are given types of columns of Parquet that its reader does not convert to. The query
	// casts them; Columns has the types of the files.
	Casts []vec.Field `json:"casts,omitempty"`
	// Partitions are the columns whose values are folders of the paths, such as year=2024.
	Partitions []string `json:"partitions,omitempty"`
	// Dialect is how csv and tsv files are written.
	Dialect *Dialect `json:"dialect,omitempty"`
	// Whole reports that the files of format json are no JSON Lines, but arrays of objects, or
	// objects of several lines.
	Whole bool `json:"whole,omitempty"`
	// Value reports that the values in the files of format json are no objects: they are the column
	// json.
	Value bool `json:"value,omitempty"`
	// Only are the paths of the files that are read, as Expand lists them; nil means all.
	Only []string `json:"only,omitempty"`
	// Files and Bytes are the number of files and their size on disk.
	Files int   `json:"files"`
	Bytes int64 `json:"bytes"`
}

// Bound is a condition that every wanted row fulfils: Column Op Values. It is only a hint, to skip
// row groups of files; rows are filtered again later.
type Bound struct {
	// Column is an index in the columns of the source.
	Column int
	// Op is one of = <> < <= > >=, in, is null, is not null.
	Op string
	// Values are one value, or the values of in. They have the type of the column.
	Values *vec.Vec
}

// Filename is the name of a column that every Table has, although Columns does not list it: the
// path of the file.
const Filename = "filename"

// ListSeparator separates the texts of an option with a list of texts that stand for NULL.
const ListSeparator = "\x00"

// formats are the known formats, and what resolves the columns of each.
var formats = map[string]func(ctx context.Context, t *Table, sample []sample, rows int) error{
	"csv":     resolveCSV,
	"tsv":     resolveCSV,
	"json":    resolveJSON,
	"parquet": resolveParquet,
	"avro":    resolveAvro,
	"log":     resolveLog,
	"stanza":  resolveStanza,
	"text":    resolveText,
}

// Outside finds and reads tables that are no files. Its options are the options of the request.
type Outside interface {
	// Resolve returns the columns of a table, and its size in bytes.
	Resolve(ctx context.Context, r Request) (columns []vec.Field, bytes int64, err error)
	// Source is like Table.Source.
	Source(t *Table, columns []vec.Field, bounds []Bound) connector.Source[vec.Batch]
}

// Postgres is the format of tables in PostgreSQL.
const Postgres = "postgres"

// outside has what reads tables that are no files, by format.
var outside = map[string]Outside{}

// Register makes a format of tables known that are no files. Call it before main.
func Register(format string, o Outside) { outside[format] = o }

// IsOutside reports whether the table is not in files.
func (t *Table) IsOutside() bool { return t.Format == Postgres }

// resolveOutside resolves a table that is not in files.
func resolveOutside(ctx context.Context, r Request) (*Table, error) {
	o := outside[r.Format]
	if o == nil {
		return nil, fmt.Errorf("%s: this program cannot read it; import _ \"github.com/layshaft/layshaft/report/%s\"", strings.Join(r.Paths, " "), r.Format)
	}
	columns, bytes, err := o.Resolve(ctx, r)
	if err != nil {
		return nil, err
	}
	t := &Table{Paths: r.Paths, Format: r.Format, Options: r.Options, Columns: columns, Bytes: bytes}
	return t, t.override(r.Types)
}

// Resolve finds the files, their format and their columns. An error names the path or the column,
// and a way to correct it.
func Resolve(ctx context.Context, r Request) (*Table, error) {
	if r.Format == Postgres {
		return resolveOutside(ctx, r)
	}
	for _, p := range r.Paths {
		if strings.HasPrefix(p, "postgres://") || strings.HasPrefix(p, "postgresql://") {
			return nil, errors.New("a connection string in FROM would be stored and shown with the statement; set LAYSHAFT_PG_shop to it, and write FROM postgres('shop', 'table')")
		}
	}
	declared, err := r.common()
	if err != nil {
		return nil, err
	}
	fs, err := files.Expand(ctx, r.Paths)
	if err != nil {
		return nil, err
	}
	t := &Table{Paths: r.Paths, Format: r.Format, Options: r.Options, Encoding: r.encoding, Files: len(fs)}
	if err := t.encode(fs); err != nil {
		return nil, err
	}
	for _, f := range fs {
		t.Bytes += f.Size
	}
	samples, err := take(ctx, fs)
	if err != nil {
		return nil, err
	}
	if t.Format == "" {
		if t.Format, err = sniffFormat(fs, samples); err != nil {
			return nil, err
		}
	}
	isBinary := t.Format == "parquet" || t.Format == "avro"
	if isBinary && r.encoding != "" {
		return nil, fmt.Errorf("option encoding: format %s is no text", t.Format)
	}
	if r.Sample != 0 && (isBinary || t.Format == "text" || t.Format == "log") {
		return nil, fmt.Errorf("option sample_size: format %s needs no sample", t.Format)
	}
	if declared != nil && t.Format != "json" && t.Format != "csv" && t.Format != "tsv" {
		return nil, fmt.Errorf("option columns: format %s has its own columns; choose some in the query", t.Format)
	}
	resolve := formats[t.Format]
	if resolve == nil {
		return nil, fmt.Errorf("format %q is not known; the formats are %s", t.Format, strings.Join(slices.Sorted(maps.Keys(formats)), ", "))
	}
	if !isBinary {
		for _, f := range fs {
			if err := f.CheckText(); err != nil {
				return nil, err
			}
		}
	}
	rows := r.Sample
	if rows <= 0 {
		rows = 4096
	}
	if err := resolve(ctx, t, samples, rows); err != nil {
		return nil, err
	}
	for i := range t.Columns {
		if t.Columns[i].Type.Kind == vec.Null {
			t.Columns[i].Type = vec.Of(vec.Text) // it has no values
		}
	}
	if declared != nil && t.Format == "json" {
		t.Columns = declared
	}
	for _, f := range t.Columns {
		if err := t.checkName(f); err != nil {
			return nil, err
		}
	}
	if !r.flat {
		t.partition(fs)
	}
	return t, t.override(r.Types)
}

// encode sets the encoding of files.
func (t *Table) encode(fs []files.File) (err error) {
	for i := range fs {
		if t.Encoding != "" {
			if fs[i], err = fs[i].EncodedAs(t.Encoding); err != nil {
				return fmt.Errorf("option encoding: %w", err)
			}
		}
	}
	return nil
}

// checkName refuses names of columns and fields that are not UTF-8.
func (t *Table) checkName(f vec.Field) error {
	if !utf8.ValidString(f.Name) {
		return fmt.Errorf("%s: the name %q of a column is not UTF-8; %s", strings.Join(t.Paths, " "), f.Name, t.encodingHint())
	}
	for typ := &f.Type; typ != nil; typ = typ.Elem {
		for _, field := range typ.Fields {
			if err := t.checkName(field); err != nil {
				return err
			}
		}
	}
	return nil
}

// encodingHint is the way out for text that is not UTF-8.
func (t *Table) encodingHint() string {
	switch t.Format {
	case "parquet", "avro":
		return "write the file again, with text as UTF-8"
	}
	return fmt.Sprintf("if it is Latin-1, read it with read_%s('…', encoding='latin-1')", t.Format)
}

// override sets the given types of columns.
func (t *Table) override(types map[string]vec.Type) error {
	for _, name := range slices.Sorted(maps.Keys(types)) {
		i := slices.IndexFunc(t.Columns, func(f vec.Field) bool { return f.Name == name })
		if i < 0 {
			i = slices.IndexFunc(t.Columns, func(f vec.Field) bool { return strings.EqualFold(f.Name, name) })
		}
		if i < 0 {
			return fmt.Errorf("the types name the column %q, which %s does not have; its columns are %s", name, strings.Join(t.Paths, " "), t.namesNear(name))
		}
		if t.Format == "parquet" && !converts(t.Columns[i].Type, types[name]) && !slices.Contains(t.Partitions, t.Columns[i].Name) {
			t.Casts = append(t.Casts, vec.Field{Name: t.Columns[i].Name, Type: types[name]})
			continue
		}
		if !types[name].Equal(t.Columns[i].Type) {
			if err := t.canRead(t.Columns[i].Name, types[name]); err != nil {
				return err
			}
		}
		t.Columns[i].Type = types[name]
		t.Declared = append(t.Declared, t.Columns[i].Name)
	}
	return nil
}

// canRead reports whether values of the format can be read as typ.
func (t *Table) canRead(column string, typ vec.Type) error {
	if t.IsOutside() {
		if typ.Kind == vec.Text || typ.Kind == vec.Decimal {
			return nil
		}
		return fmt.Errorf("column %q: a column of a database can be read as text or as a decimal; cast it in the query", column)
	}
	nested := typ.Kind == vec.List || typ.Kind == vec.Map || typ.Kind == vec.Struct
	if nested && t.Format != "json" || typ.Kind == vec.Null {
		return fmt.Errorf("column %q: values of format %s cannot be read as %s; read them as text, and convert them in the query", column, t.Format, typ)
	}
	return nil
}

// namesNear lists the columns, the nearest to name first, and at most 20 of them.
func (t *Table) namesNear(name string) string {
	var names []string
	for _, f := range t.Columns {
		names = append(names, f.Name)
	}
	names = spelling.Sort(name, names)
	rest := ""
	if n := len(names) - 20; n > 0 {
		names, rest = names[:20], fmt.Sprintf(" and %d more", n)
	}
	return strings.Join(names, ", ") + rest
}

// Describe returns a line for people: the paths, the format, and how much there is to read.
func (t *Table) Describe() string {
	if t.IsOutside() {
		return fmt.Sprintf("%s: %s", strings.Join(t.Paths, " "), report.Plural(t.Bytes, "byte"))
	}
	s := fmt.Sprintf("%s: %s, %s, %s", strings.Join(t.Paths, " "), t.Format, report.Plural(t.Files, "file"), report.Plural(t.Bytes, "byte"))
	if t.Dialect != nil {
		s += ", " + t.Dialect.String()
	}
	return s
}

// Expand lists the files of the table as they are now.
func (t *Table) Expand(ctx context.Context) ([]files.File, error) {
	return (&source{t: t}).expand(ctx)
}

// Stamps lists the files of the table as they are now, without opening them, each with a text that
// differs after a change.
func (t *Table) Stamps(ctx context.Context) (map[string]string, error) {
	all := map[string]string{}
	if t.IsOutside() {
		return all, nil
	}
	for _, p := range t.Paths {
		fsys, err := filesys.Of(ctx, p)
		if err != nil {
			return nil, err
		}
		infos, err := fsys.Glob(ctx, p)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		for _, i := range infos {
			if filesys.InputOf(ctx).Admit(&i) == "" {
				all[i.Path] = fmt.Sprint(i.ID, i.Size, i.ModTime.UnixNano(), i.Changed.UnixNano(), i.Version)
			}
		}
	}
	return all, nil
}

// Source returns a source of batches with exactly the given columns, which are some of t.Columns in
// any order, or Filename. A struct may be pruned to some of its fields. A batch and its texts are
// valid until Emit returns. bounds are hints about the wanted rows.
func (t *Table) Source(columns []vec.Field, bounds []Bound) connector.Source[vec.Batch] {
	if o := outside[t.Format]; o != nil {
		return o.Source(t, columns, bounds)
	}
	return &source{t: t, columns: columns, bounds: bounds}
}

// Extremes is Source for a query that needs nothing but the least and the greatest value of each
// column. Of a row group of Parquet whose statistics have them, it emits two rows with them.
func (t *Table) Extremes(columns []vec.Field) connector.Source[vec.Batch] {
	return &source{t: t, columns: columns, extremes: true}
}

// Reads returns a line for people about what a source reads: files, columns and row groups.
func (t *Table) Reads(ctx context.Context, columns []vec.Field, bounds []Bound, extremes bool) (string, error) {
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = c.Name
	}
	of := "columns " + strings.Join(names, ", ")
	if len(names) == 0 {
		of = "no column"
	}
	line := fmt.Sprintf("reads %s: ", strings.Join(t.Paths, " "))
	if t.IsOutside() {
		return line + of, nil
	}
	all, err := files.Expand(ctx, t.Paths)
	if err != nil {
		return "", err
	}
	st, err := t.Stats(ctx, columns, bounds)
	if err != nil {
		return "", err
	}
	line += fmt.Sprintf("%d of %s, ", st.Files, report.Plural(len(all), "file"))
	if t.Format != "parquet" {
		return line + of, nil
	}
	line += fmt.Sprintf("%d of %s, %s", st.Groups-st.Skipped, report.Plural(st.Groups, "row group"), of)
	switch {
	case extremes:
		line += "; statistics are read in place of rows where they have the answer"
	case st.Skipped > 0:
		line += "; statistics exclude the other row groups"
	}
	return line, nil
}
