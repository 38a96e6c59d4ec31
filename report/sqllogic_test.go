package report_test

import (
	"bufio"
	"compress/gzip"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/report"
)

// TestSQLLogic runs files of SQLite's public suite sqllogictest (public domain), as PostgreSQL
// would read them: each table is a file, and each query a report. Of the queries of a long file one
// in 20 runs, unless LAYSHAFT_NIGHTLY is set.
func TestSQLLogic(t *testing.T) {
	paths, err := filepath.Glob("testdata/sqllogic/*.test.gz")
	if err != nil || len(paths) == 0 {
		t.Fatal("no files of the suite: ", err)
	}
	for i, p := range paths {
		if paths[i], err = filepath.Abs(p); err != nil {
			t.Fatal(err)
		}
	}
	for i, p := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(p), ".test.gz"), func(t *testing.T) {
			t.Chdir(t.TempDir())
			s := &logicTest{t: t, file: i, tables: map[string]*logicTable{}, threshold: 8}
			for _, b := range logicBlocks(t, p) {
				s.block(b)
			}
			t.Logf("%d queries are right, %d are refused for a listed reason, %d wrong", s.right, s.refused, s.wrong)
		})
	}
}

// logicRefused are the kinds of queries of the suite that are refused, by the words of the error,
// with the reason.
var logicRefused = map[string]string{
	"empty list":            "IN () is SQLite's alone",
	"want a number":         "numbers in text: PostgreSQL refuses sum(text), too",
	"IN compares text":      "text is not compared with numbers",
	"IN compares bigint":    "text is not compared with numbers",
	"x'…' is not supported": "literals of bytes",
	"unexpected NOT":        "NOT INDEXED is SQLite's alone",
	"named total":           "total() is SQLite's alone",
	"total is not":          "total() is SQLite's alone",
}

// logicBlocks returns the records of a file: lines between blank lines.
func logicBlocks(t *testing.T, path string) (blocks [][]string) {
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var block []string
	lines := bufio.NewScanner(z)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		switch {
		case strings.HasPrefix(line, "#"):
		case line == "" && block != nil:
			blocks, block = append(blocks, block), nil
		case line != "":
			block = append(block, line)
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	if block != nil {
		blocks = append(blocks, block)
	}
	return blocks
}

type logicTable struct {
	// parquet reports that the file is Parquet: every other table, if its columns are in
	// alphabetical order, which the library keeps.
	parquet bool
	columns []string
	text    []bool
	rows    [][]string // NULL is "\x00"
}

type logicTest struct {
	t                     *testing.T
	file                  int
	tables                map[string]*logicTable
	threshold             int
	seen                  int
	right, refused, wrong int
}

// block runs a record.
func (s *logicTest) block(lines []string) {
	for len(lines) > 0 {
		f := strings.Fields(lines[0])
		switch f[0] {
		case "onlyif":
			if f[1] != "postgresql" {
				return
			}
			lines = lines[1:]
			continue
		case "skipif":
			if f[1] == "postgresql" {
				return
			}
			lines = lines[1:]
			continue
		case "hash-threshold":
			s.threshold, _ = strconv.Atoi(f[1])
		case "statement":
			if f[1] == "ok" {
				s.statement(strings.Join(lines[1:], " "))
			}
		case "query":
			s.query(f, lines[1:])
		}
		return
	}
}

var (
	createTable = regexp.MustCompile(`(?is)^CREATE TABLE (\w+)\s*\((.*)\)$`)
	insertRow   = regexp.MustCompile(`(?is)^INSERT INTO (\w+)\s*(?:\(([^)]*)\))?\s*VALUES\s*\((.*)\);?$`)
	insertFrom  = regexp.MustCompile(`(?is)^INSERT INTO (\w+) SELECT \* FROM (\w+)$`)
)

// statement changes a table, and writes its file.
func (s *logicTest) statement(text string) {
	text = strings.TrimSpace(text)
	name := ""
	if m := createTable.FindStringSubmatch(text); m != nil {
		name = m[1]
		x := &logicTable{}
		for _, c := range strings.Split(m[2], ",") {
			f := strings.Fields(c)
			if strings.EqualFold(f[0], "UNIQUE") {
				continue
			}
			x.columns = append(x.columns, f[0])
			x.text = append(x.text, len(f) > 1 && (strings.HasPrefix(strings.ToUpper(f[1]), "VARCHAR") || strings.EqualFold(f[1], "TEXT")))
		}
		x.parquet = (s.file+len(s.tables))%2 == 0 && slices.IsSorted(x.columns)
		s.tables[name] = x
	} else if m := insertRow.FindStringSubmatch(text); m != nil {
		name = m[1]
		x := s.tables[name]
		values := strings.Split(m[3], ",")
		row := slices.Repeat([]string{"\x00"}, len(x.columns))
		for i, v := range values {
			at := i
			if m[2] != "" {
				at = slices.Index(x.columns, strings.TrimSpace(strings.Split(m[2], ",")[i]))
			}
			switch v = strings.TrimSpace(v); {
			case strings.EqualFold(v, "NULL"):
			case v[0] == '\'':
				row[at] = strings.Trim(v, "'")
			case v == "1<<63":
				row[at] = "-9223372036854775808"
			default:
				row[at] = v
			}
		}
		x.rows = append(x.rows, row)
	} else if m := insertFrom.FindStringSubmatch(text); m != nil {
		name = m[1]
		s.tables[name].rows = append(s.tables[name].rows, s.tables[m[2]].rows...)
	} else {
		return // an index
	}
	s.write(name)
}

// write writes the file of a table. Fields in quotes are text, and an empty one without quotes is
// NULL.
func (s *logicTest) write(name string) {
	x := s.tables[name]
	if err := os.MkdirAll(name, 0o755); err != nil {
		s.t.Fatal(err)
	}
	if x.parquet {
		if err := x.writeParquet(filepath.Join(name, "rows.parquet")); err != nil {
			s.t.Fatal(err)
		}
		return
	}
	var b strings.Builder
	if len(x.columns) == 1 && len(x.rows) > 0 { // in CSV, a NULL alone would be a blank line
		for _, row := range x.rows {
			v := row[0]
			if x.text[0] {
				v = strconv.Quote(v)
			}
			if row[0] == "\x00" {
				v = "null"
			}
			fmt.Fprintf(&b, "{%q: %s}\n", x.columns[0], v)
		}
		_ = os.Remove(filepath.Join(name, "rows.csv"))
		if err := os.WriteFile(filepath.Join(name, "rows.jsonl"), []byte(b.String()), 0o644); err != nil {
			s.t.Fatal(err)
		}
		return
	}
	_ = os.Remove(filepath.Join(name, "rows.jsonl"))
	b.WriteString(strings.Join(x.columns, ",") + "\n")
	for _, row := range x.rows {
		for i, v := range row {
			if i > 0 {
				b.WriteByte(',')
			}
			switch {
			case v == "\x00":
			case x.text[i]:
				b.WriteString(`"` + v + `"`)
			default:
				b.WriteString(v)
			}
		}
		b.WriteByte('\n')
	}
	if err := os.WriteFile(filepath.Join(name, "rows.csv"), []byte(b.String()), 0o644); err != nil {
		s.t.Fatal(err)
	}
}

// writeParquet writes the rows as Parquet.
func (x *logicTable) writeParquet(path string) error {
	group := parquet.Group{}
	for i, c := range x.columns {
		if group[c] = parquet.Optional(parquet.Leaf(parquet.Int64Type)); x.text[i] {
			group[c] = parquet.Optional(parquet.String())
		}
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	w := parquet.NewWriter(f, parquet.NewSchema("rows", group))
	for _, row := range x.rows {
		out := make(parquet.Row, len(row))
		for i, v := range row {
			if v == "\x00" {
				out[i] = parquet.Value{}.Level(0, 0, i)
				continue
			}
			if out[i] = parquet.ValueOf(v).Level(0, 1, i); !x.text[i] {
				n, err := strconv.ParseInt(strings.TrimSuffix(v, ".0"), 10, 64)
				if err != nil {
					return err
				}
				out[i] = parquet.ValueOf(n).Level(0, 1, i)
			}
		}
		if _, err := w.WriteRows([]parquet.Row{out}); err != nil {
			return err
		}
	}
	return w.Close()
}

// types returns the types of the columns of the tables that a query names.
func (s *logicTest) types(text string) map[string]string {
	types := map[string]string{}
	for name, x := range s.tables {
		if !regexp.MustCompile(`\b` + name + `\b`).MatchString(text) {
			continue
		}
		for i, c := range x.columns {
			if types[c] = "bigint"; x.text[i] {
				types[c] = "text"
			}
		}
	}
	return types
}

// query runs a query and compares its rows.
func (s *logicTest) query(head, lines []string) {
	s.seen++
	whole, each := 40, 20
	if testing.Short() {
		whole, each = 10, 100
	}
	if s.seen > whole && s.seen%each != 0 && os.Getenv("LAYSHAFT_NIGHTLY") == "" {
		return
	}
	cut := slices.Index(lines, "----")
	want := []string{}
	if cut >= 0 {
		want = lines[cut+1:]
	} else {
		cut = len(lines)
	}
	text := strings.Join(lines[:cut], " ")
	if strings.Contains(text, "group_concat(DISTINCT") {
		return // SQLite joins the values in the order of the rows, PostgreSQL in their order
	}
	got, err := s.rows(text, head[1])
	if err != nil {
		for words := range logicRefused {
			if strings.Contains(err.Error(), words) {
				s.refused++
				return
			}
		}
		s.fail("%s\n%v", text, err)
		return
	}
	if len(want) == 0 && strings.Contains(text, "sum(") {
		s.refused++ // SQLite's sum of integers overflows at 64 bits
		return
	}
	order := "nosort"
	if len(head) > 2 {
		order = head[2]
	}
	var values []string
	switch order {
	case "rowsort":
		slices.SortFunc(got, slices.Compare)
		values = slices.Concat(got...)
	case "valuesort":
		values = slices.Concat(got...)
		slices.Sort(values)
	default:
		values = slices.Concat(got...)
	}
	if len(want) == 1 && strings.Contains(want[0], " values hashing to ") {
		sum := md5.Sum([]byte(strings.Join(values, "\n") + "\n"))
		if have := fmt.Sprintf("%d values hashing to %s", len(values), hex.EncodeToString(sum[:])); have != want[0] {
			s.fail("%s\ngot %s: %.20v\nwant %s", text, have, values, want[0])
			return
		}
	} else if !slices.Equal(values, want) {
		s.fail("%s\ngot %q\nwant %q", text, values, want)
		return
	}
	s.right++
}

func (s *logicTest) fail(format string, args ...any) {
	if s.wrong++; s.wrong <= 5 {
		s.t.Errorf(format, args...)
	} else {
		s.t.Fail()
	}
}

// rows returns the rows of a query as the suite writes values.
func (s *logicTest) rows(text, types string) (out [][]string, err error) {
	st, err := report.Options{Types: s.types(text)}.Prepare(s.t.Context(), mapreduce.Local{Slots: 1}, text)
	if err != nil {
		return nil, err
	}
	for row, err := range st.Run(s.t.Context()).All() {
		if err != nil {
			return nil, err
		}
		line := make([]string, len(row))
		for i, v := range row {
			line[i] = logicValue(v, types[min(i, len(types)-1)])
		}
		out = append(out, line)
	}
	return out, nil
}

func logicValue(v any, kind byte) string {
	if v == nil {
		return "NULL"
	}
	if b, ok := v.(bool); ok {
		v = int64(0)
		if b {
			v = int64(1)
		}
	}
	number := func() (float64, bool) {
		switch v := v.(type) {
		case int64:
			return float64(v), true
		case *big.Int:
			f, _ := new(big.Float).SetInt(v).Float64()
			return f, true
		case *big.Rat:
			f, _ := v.Float64()
			return f, true
		case float64:
			return v, true
		}
		return 0, false
	}
	switch kind {
	case 'I':
		if _, ok := v.(*big.Int); !ok {
			if f, ok := number(); ok {
				return strconv.FormatInt(int64(f), 10)
			}
			return "0"
		}
	case 'R':
		if f, ok := number(); ok {
			return strconv.FormatFloat(f, 'f', 3, 64)
		}
	}
	text := fmt.Sprint(v)
	if text == "" {
		return "(empty)"
	}
	return text
}
