package scaffold

import (
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// Field is a column of the input and a field of the struct for it.
type Field struct {
	Name   string // of the field
	Column string // in the input
	Type   string // in Go
	Tag    string // without backquotes

	empty    bool // some cells are empty
	distinct map[string]bool
	rows     int
}

// headSize is how much of the input is read, in bytes.
const headSize = 1 << 20

// head returns the beginning of a file, up to the end of a line, uncompressed.
func head(path string) ([]byte, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s: there is no such file; name one of CSV, TSV, JSON Lines or text, or none for lines of text", path)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var r io.Reader = f
	if strings.HasSuffix(path, ".gz") {
		if r, err = gzip.NewReader(f); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	head, err := io.ReadAll(io.LimitReader(r, headSize))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if len(head) == headSize {
		head = head[:bytes.LastIndexByte(head, '\n')+1]
	}
	if bytes.IndexByte(head, 0) >= 0 {
		return nil, fmt.Errorf("%s is not text; name a file with CSV, JSON Lines or text, also with gzip", path)
	}
	return head, nil
}

// firstLines returns the first n lines. With a comma they are rows of a table, which may have
// several lines.
func firstLines(head []byte, n int, comma rune) []byte {
	if comma != 0 {
		r := csv.NewReader(bytes.NewReader(head))
		r.Comma, r.LazyQuotes, r.FieldsPerRecord, r.ReuseRecord = comma, true, -1, true
		for range n + 1 {
			if _, err := r.Read(); err != nil {
				return head
			}
		}
		return head[:r.InputOffset()]
	}
	end := 0
	for range n {
		next := bytes.IndexByte(head[end:], '\n')
		if next < 0 {
			return head
		}
		end += next + 1
	}
	return head[:end]
}

// separator returns what separates the cells of the header: what cuts it into most cells, in doubt
// a comma.
func separator(head []byte) rune {
	best, most := ',', 0
	for _, comma := range ",;\t|" {
		r := csv.NewReader(bytes.NewReader(head))
		r.Comma, r.LazyQuotes = comma, true
		if header, _ := r.Read(); len(header) > most {
			best, most = comma, len(header)
		}
	}
	return best
}

// csvFields returns the columns of a table with a header.
func csvFields(head []byte, comma rune) ([]Field, error) {
	r := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(head, []byte("\ufeff"))))
	r.Comma, r.FieldsPerRecord = comma, -1
	header, err := r.Read()
	if err != nil {
		return nil, fmt.Errorf("its first line should be a header: %w", err)
	}
	fields := make([]Field, len(header))
	for i, column := range header {
		fields[i] = Field{Column: column, distinct: map[string]bool{}}
	}
	for {
		row, err := r.Read()
		if err != nil { // the run names malformed rows
			break
		}
		for i, cell := range row[:min(len(row), len(fields))] {
			fields[i].add(cell)
		}
	}
	return finish(fields, "csv")
}

// jsonFields returns the fields of the objects of JSON Lines, except for objects and lists in them.
func jsonFields(head []byte) ([]Field, error) {
	var fields []Field
	at, skip := map[string]int{}, map[string]bool{}
	for line := range bytes.Lines(head) {
		d := json.NewDecoder(bytes.NewReader(line))
		d.UseNumber()
		if t, err := d.Token(); err != nil || t != json.Delim('{') {
			continue // the run names malformed lines
		}
		for d.More() {
			name, err := d.Token()
			var value any
			if err == nil {
				err = d.Decode(&value)
			}
			if err != nil {
				break
			}
			column := name.(string)
			i, ok := at[column]
			if !ok {
				i = len(fields)
				at[column] = i
				fields = append(fields, Field{Column: column, distinct: map[string]bool{}})
			}
			switch value := value.(type) {
			case nil:
			case string:
				fields[i].add(value)
				fields[i].Type = "string"
			case bool, json.Number:
				fields[i].add(fmt.Sprint(value))
			default:
				skip[column] = true
			}
		}
	}
	fields = slices.DeleteFunc(fields, func(f Field) bool { return skip[f.Column] })
	return finish(fields, "json")
}

// add adds a cell to what is known about a column.
func (f *Field) add(cell string) {
	f.rows++
	if cell == "" {
		f.empty = true
		return
	}
	if len(f.distinct) < 1000 {
		f.distinct[cell] = true
	}
	f.Type = wider(f.Type, typeOf(cell))
}

func typeOf(cell string) string {
	if _, err := strconv.ParseInt(cell, 10, 64); err == nil {
		return "int64"
	}
	if _, err := strconv.ParseFloat(cell, 64); err == nil && strings.IndexFunc(cell, unicode.IsLetter) < 0 {
		return "float64"
	}
	if cell == "true" || cell == "false" {
		return "bool"
	}
	return "string"
}

// wider returns the type that holds the values of both.
func wider(a, b string) string {
	switch {
	case a == "" || a == b:
		return b
	case a != "string" && b != "string" && a != "bool" && b != "bool":
		return "float64"
	}
	return "string"
}

// finish chooses names, types and tags.
func finish(fields []Field, tag string) ([]Field, error) {
	used, columns := map[string]bool{}, map[string]int{}
	for _, f := range fields {
		columns[f.Column]++
	}
	var out []Field
	for _, f := range fields {
		if columns[f.Column] > 1 {
			continue // no field can read it
		}
		if f.Column == "" || strings.ContainsAny(f.Column, "\",`\\\n") || f.Column == "-" {
			continue // a tag cannot name it
		}
		f.Name = fieldName(f.Column)
		for n := 2; used[f.Name]; n++ {
			f.Name = fmt.Sprintf("%s%d", fieldName(f.Column), n)
		}
		used[f.Name] = true
		if f.Type == "" {
			f.Type = "string"
		}
		option := ""
		if tag == "csv" && f.empty && f.Type != "string" {
			option = ",omitempty"
		}
		f.Tag = fmt.Sprintf("%s:%q", tag, f.Column+option)
		out = append(out, f)
	}
	if len(out) == 0 {
		return nil, errors.New("it has no column with a name")
	}
	return out, nil
}

// fieldName returns an exported name of Go for a column.
func fieldName(column string) string {
	var name strings.Builder
	for _, word := range strings.FieldsFunc(column, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
		first := []rune(word)
		first[0] = unicode.ToUpper(first[0])
		name.WriteString(string(first))
	}
	if s := name.String(); s != "" && unicode.IsUpper([]rune(s)[0]) {
		return s
	}
	return "Column" + name.String()
}

// choose returns the column to count by, the text with the fewest values, and a column to sum up.
func choose(fields []Field) (group, sum *Field) {
	for i := range fields {
		f := &fields[i]
		if f.Type == "string" && (group == nil || len(group.distinct) < 2 || len(f.distinct) > 1 && len(f.distinct) < len(group.distinct)) {
			group = f
		}
		isID := strings.HasSuffix(strings.ToLower(f.Name), "id")
		if (f.Type == "int64" || f.Type == "float64") && sum == nil && !isID {
			sum = f
		}
	}
	if group == nil && len(fields) > 0 {
		group = &fields[0]
	}
	return group, sum
}
