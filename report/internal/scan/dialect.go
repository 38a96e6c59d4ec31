package scan

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/layshaft/layshaft/internal/csvcodec"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/internal/spelling"
	"github.com/layshaft/layshaft/report/internal/vec"
)

// Dialect is how the rows of csv and tsv files are written.
type Dialect struct {
	// Delim is the byte between cells. Quote is the byte around cells, or empty.
	Delim string `json:"delim"`
	Quote string `json:"quote,omitempty"`
	// Header reports that each file begins with the names of its columns.
	Header bool `json:"header"`
	// Names are the columns, in place of those in headers; a file may have more.
	Names []string `json:"names,omitempty"`
	// Skip is the number of lines to skip at the start of each file.
	Skip int `json:"skip,omitempty"`
	// Comment begins a line that is skipped; empty means none.
	Comment string `json:"comment,omitempty"`
	// Nulls are the cells that are NULL, beside empty ones.
	Nulls []string `json:"nulls,omitempty"`
	// Multiline reports that cells have line feeds, or may have. Where to cut a file is then found
	// by reading all of it. Otherwise a file is cut at any line feed, and a cut inside of a cell is
	// an error when the part before it is read.
	Multiline bool `json:"multiline,omitempty"`
	// Pad allows rows with fewer cells: the missing ones are NULL.
	Pad bool `json:"pad,omitempty"`
	// Decimal is the byte before the fraction of a number, and Thousands the one between groups of
	// three digits; empty means a point, and none.
	Decimal   string `json:"decimal,omitempty"`
	Thousands string `json:"thousands,omitempty"`
	// DateFormat and TimestampFormat are the formats of strptime; empty means ISO 8601.
	DateFormat      string `json:"dateformat,omitempty"`
	TimestampFormat string `json:"timestampformat,omitempty"`
}

// String returns the dialect, such as delim ';', no header.
func (d *Dialect) String() string {
	s := fmt.Sprintf("delim %q", d.Delim)
	if d.Quote != `"` {
		s += fmt.Sprintf(", quote %q", d.Quote)
	}
	if d.Header {
		return s + ", header"
	}
	return s + ", no header"
}

// quote returns the quote for package csvcodec.
func (d *Dialect) quote() byte {
	if d.Quote == "" {
		return 0
	}
	return d.Quote[0]
}

// parser returns a parser for rows of the dialect.
func (d *Dialect) parser(want int) *csvcodec.Parser { return csvcodec.New(d.Delim[0], d.quote(), want) }

// csvOptions are the options of read_csv and what they are for.
var csvOptions = []string{"delim", "sep", "quote", "escape", "header", "nullstr", "skip", "comment", "names", "columns", "types", "dateformat", "timestampformat", "decimal_separator", "thousands", "all_varchar", "null_padding", "multiline"}

// newDialect returns the dialect that the options give. What they leave open is for sniffing: an
// empty Delim; header is nil.
func newDialect(t *Table) (d *Dialect, header *bool, err error) {
	d = &Dialect{Quote: `"`}
	if t.Format == "tsv" {
		d.Delim = "\t"
	}
	for name, value := range t.Options {
		switch name {
		case "delim", "sep", "delimiter":
			if value == `\t` {
				value = "\t"
			}
			if d.Delim = value; len(value) != 1 || strings.Contains("\"\r\n", value) || value[0] >= 0x80 {
				return nil, nil, fmt.Errorf("option %s: %q is not one byte of ASCII that can separate cells", name, value)
			}
		case "quote":
			if d.Quote = value; len(value) > 1 || len(value) == 1 && (value[0] >= 0x80 || strings.Contains("\r\n", value)) {
				return nil, nil, fmt.Errorf("option quote: %q is not one byte of ASCII, or empty", value)
			}
		case "escape":
			quote, given := t.Options["quote"]
			if !given {
				quote = `"`
			}
			if value != "" && value != quote {
				return nil, nil, fmt.Errorf("option escape: only doubled quotes are known, so it must be the quote %q, not %q", quote, value)
			}
		case "header":
			on, err := isTrue(name, value)
			if err != nil {
				return nil, nil, err
			}
			header = &on
		case "nullstr", "null", "nullstrings":
			d.Nulls = append(d.Nulls, strings.Split(value, ListSeparator)...)
		case "skip":
			if d.Skip, err = strconv.Atoi(value); err != nil || d.Skip < 0 {
				return nil, nil, fmt.Errorf("option skip: %q is not a number of lines", value)
			}
		case "comment":
			if d.Comment = value; len(value) > 1 {
				return nil, nil, fmt.Errorf("option comment: %q is not one byte", value)
			}
		case "names", "columns":
			for n := range strings.SplitSeq(value, ",") {
				d.Names = append(d.Names, strings.TrimSpace(n))
			}
		case "dateformat":
			d.DateFormat = value
		case "timestampformat":
			d.TimestampFormat = value
		case "decimal_separator":
			if d.Decimal = value; value != "." && value != "," {
				return nil, nil, fmt.Errorf("option decimal_separator: %q is neither a comma nor a point", value)
			}
		case "thousands":
			if d.Thousands = value; len(value) != 1 || strings.Contains("0123456789-+eE\"\r\n", value) || value[0] >= 0x80 {
				return nil, nil, fmt.Errorf("option thousands: %q is not one byte of ASCII that can separate digits", value)
			}
		case "all_varchar":
			if _, err := isTrue(name, value); err != nil {
				return nil, nil, err
			}
		case "null_padding":
			if d.Pad, err = isTrue(name, value); err != nil {
				return nil, nil, err
			}
		case "multiline":
			if d.Multiline, err = isTrue(name, value); err != nil {
				return nil, nil, err
			}
		default:
			return nil, nil, fmt.Errorf("option %q is not known for %s; the options are %s", name, t.Format, strings.Join(spelling.Sort(name, csvOptions), ", "))
		}
	}
	if d.Decimal == "." && d.Thousands == "" {
		d.Decimal = ""
	}
	if d.hasNumbers() && d.Thousands == cmp.Or(d.Decimal, ".") {
		return nil, nil, fmt.Errorf("option thousands: %q also stands before the fraction; give decimal_separator another one", d.Thousands)
	}
	for name, format := range map[string]string{"dateformat": d.DateFormat, "timestampformat": d.TimestampFormat} {
		if _, err := newLayout(format); err != nil {
			return nil, nil, fmt.Errorf("option %s: %w", name, err)
		}
	}
	return d, header, nil
}

// hasNumbers reports whether numbers have a notation of their own.
func (d *Dialect) hasNumbers() bool { return d.Decimal != "" || d.Thousands != "" }

// number returns a number in the notation of other formats: 1.234,5 is 1234.5. Other texts stay. ok
// is false for a text that is a number in that notation only.
func (d *Dialect) number(s string) (n string, ok bool) {
	digits := strings.TrimLeft(s, "-+")
	sign := s[:len(s)-len(digits)]
	whole, frac, hasFrac := strings.Cut(digits, cmp.Or(d.Decimal, "."))
	if d.Thousands != "" && strings.Contains(whole, d.Thousands) {
		groups := strings.Split(whole, d.Thousands)
		for i, g := range groups {
			if i == 0 && (len(g) < 1 || len(g) > 3) || i > 0 && len(g) != 3 || strings.Trim(g, "0123456789") != "" {
				c := classify(s).class
				return s, c != isDecimal && c != isFloat
			}
		}
		whole = strings.Join(groups, "")
	}
	if d.Decimal == "," && strings.Contains(whole, ".") {
		c := classify(s).class
		return s, c != isDecimal && c != isFloat
	}
	if hasFrac {
		whole += "." + frac
	}
	return sign + whole, true
}

// A classifier adds cells to what is known of a column. A format of dates or times replaces ISO
// 8601; nil means none. numbers is the dialect if its numbers have a notation of their own.
type classifier struct {
	dates, stamps *layout
	numbers       *Dialect
}

// newClassifier returns the classifier for the formats of d.
func newClassifier(d *Dialect) (k classifier) {
	if d.hasNumbers() {
		k.numbers = d
	}
	if d.DateFormat != "" {
		k.dates, _ = newLayout(d.DateFormat) // checked by newDialect
	}
	if d.TimestampFormat != "" {
		k.stamps, _ = newLayout(d.TimestampFormat)
	}
	return k
}

func (k *classifier) add(s *shape, cell string) {
	if k.dates != nil {
		if _, ok := k.dates.date(cell); ok {
			s.dates++
			return
		}
	}
	if k.stamps != nil {
		if _, zoned, ok := k.stamps.timestamp(cell); ok && zoned {
			s.zoned++
			return
		} else if ok {
			s.stamps++
			return
		}
	}
	if k.numbers != nil {
		n, ok := k.numbers.number(cell)
		if cell = n; !ok {
			s.texts++
			return
		}
	}
	switch c := classify(cell).class; {
	case c == isDate && k.dates != nil, (c == isStamp || c == isZoned) && k.stamps != nil:
		s.texts++
	default:
		s.add(cell)
	}
}

// sniffRows is the most rows of a file that the dialect is found with.
const sniffRows = 200

// sniff finds the delimiter and the quote that cut the rows of a sample most evenly.
func (d *Dialect) sniff(s sample, quoteGiven bool) {
	delims := []string{",", "\t", ";", "|"}
	if d.Delim != "" {
		delims = []string{d.Delim}
	}
	quotes := []string{`"`, "", "'"}
	if quoteGiven {
		quotes = []string{d.Quote}
	}
	best, bestCells := -1.0, 0
	for _, quote := range quotes {
		for _, delim := range delims {
			if delim == quote {
				continue
			}
			try := *d
			try.Delim, try.Quote = delim, quote
			share, cells := try.score(s)
			if quote != `"` && !quoteGiven {
				share -= 0.01 // only if it cuts more rows evenly
			}
			if share > best+1e-9 || share > best-1e-9 && cells > bestCells {
				best, bestCells, d.Delim, d.Quote = share, cells, delim, quote
			}
		}
	}
}

// score returns the share of the rows that have the most frequent number of cells, and this number.
// Rows of a single cell score nothing.
func (d *Dialect) score(s sample) (share float64, cells int) {
	count, rows, quoted := map[int]int{}, 0, 0
	d.eachRow(s.head, s.whole, 1, func(p *csvcodec.Parser, err error) bool {
		rows++
		if err == nil {
			count[p.N]++
			if d.Quote == "'" && p.Quoted(0) {
				quoted++
			}
		}
		return rows < sniffRows
	})
	most := 0
	for n, c := range count {
		if c > most || c == most && n > cells {
			most, cells = c, n
		}
	}
	if rows == 0 || cells < 2 || d.Quote == "'" && quoted == 0 {
		return 0, cells
	}
	return float64(most) / float64(rows), cells
}

// eachRow calls row with the rows of text that are not blank, until it returns false. complete
// reports that text ends with a row.
func (d *Dialect) eachRow(text []byte, complete bool, want int, row func(p *csvcodec.Parser, err error) bool) {
	p := d.parser(want)
	p.Reset(text, complete)
	at := d.skip(text, true)
	for at < len(text) {
		if n := d.commentEnd(text, at); n > at {
			at = n
			continue
		}
		next, err := p.Row(at)
		if errors.Is(err, csvcodec.ErrMore) {
			return
		}
		if (err != nil || p.N > 0) && !row(p, err) {
			return
		}
		at = next
	}
}

// skip returns the end of the lines to skip at the start of a file.
func (d *Dialect) skip(text []byte, first bool) (at int) {
	if !first {
		return 0
	}
	for range d.Skip {
		n := indexByte(text[at:], '\n')
		if n < 0 {
			return len(text)
		}
		at += n + 1
	}
	return at
}

// commentEnd returns the end of the comment at the start of a row, or at if there is none.
func (d *Dialect) commentEnd(text []byte, at int) int {
	if d.Comment == "" || text[at] != d.Comment[0] {
		return at
	}
	if n := indexByte(text[at:], '\n'); n >= 0 {
		return at + n + 1
	}
	return len(text)
}

// isNull reports whether a cell that is not in quotes is NULL.
func (d *Dialect) isNull(cell string) bool {
	return cell == "" || len(d.Nulls) > 0 && slices.Contains(d.Nulls, cell)
}

// cells returns the cells of the current row of p.
func cells(p *csvcodec.Parser, want int) []string {
	row := make([]string, min(p.N, want))
	for i := range row {
		row[i] = strings.Clone(p.Text(i))
	}
	return row
}

// maxCells is the most columns of a file.
const maxCells = 20_000

// resolveCSV finds the dialect and the columns.
func resolveCSV(_ context.Context, t *Table, samples []sample, rows int) error {
	d, header, err := newDialect(t)
	if err != nil {
		return err
	}
	t.Dialect = d
	if len(samples) == 0 {
		if d.Delim == "" {
			d.Delim = ","
		}
		for _, n := range d.Names {
			t.Columns = append(t.Columns, vec.Field{Name: n, Type: vec.Of(vec.Text)})
		}
		return nil
	}
	_, quoteGiven := t.Options["quote"]
	d.sniff(samples[0], quoteGiven)
	known := newClassifier(d)

	// The first rows, and by position what the other rows show.
	var firsts [][]string
	var rest []shape
	each := max(rows/(2*len(samples)), 16)
	values := make([][]shape, len(samples)) // by sample and position
	for i, s := range samples {
		for k, part := range [][]byte{s.head, s.middle} {
			if k == 1 && d.Multiline { // it may begin inside of a cell
				break
			}
			n := 0
			first := k == 0
			try := *d
			if !first {
				try.Skip = 0
			}
			try.eachRow(part, k == 0 && s.whole, maxCells, func(p *csvcodec.Parser, err error) bool {
				if err != nil {
					return n < each
				}
				d.Multiline = d.Multiline || p.Feeds > 1
				if first {
					first = false
					firsts = append(firsts, cells(p, maxCells))
					values[i] = make([]shape, min(p.N, maxCells))
					return true
				}
				if p.N != len(values[i]) && !d.Pad {
					return n < each
				}
				for c := range min(p.N, len(values[i])) {
					text := p.Text(c)
					switch {
					case p.Quoted(c) && text == "":
					case !p.Quoted(c) && d.isNull(text):
						values[i][c].nulls++
					default:
						known.add(&values[i][c], text)
					}
				}
				n++
				return n < each
			})
		}
		if len(firsts) == i {
			return fmt.Errorf("%s: it has no row that can be read; check the options delim and quote", s.file.Path)
		}
		for c := range values[i] {
			if c >= len(rest) {
				rest = append(rest, shape{})
			}
			rest[c].merge(&values[i][c])
		}
	}
	if header != nil {
		d.Header = *header
	} else {
		d.Header = isHeader(firsts, rest, d, &known)
	}
	for i, first := range firsts {
		n, option := len(d.Names), "names"
		_, exact := t.Options["columns"]
		if exact {
			option = "columns"
		}
		if n > len(first) || n < len(first) && exact {
			return fmt.Errorf("%s: it has %s, and the option %s names %d; name all columns, or the first ones with the option names, and some types with the option types", samples[i].file.Path, report.Plural(len(first), "column"), option, n)
		}
	}
	t.columns(d, &known, firsts, values)
	if all, _ := isTrue("", t.Options["all_varchar"]); all {
		for i := range t.Columns {
			t.Columns[i].Type = vec.Of(vec.Text)
		}
	}
	return nil
}

// columns sets the columns of all samples, in the order of their first occurrence.
func (t *Table) columns(d *Dialect, known *classifier, firsts [][]string, values [][]shape) {
	var all shape // as of an object
	for i := range values {
		names := d.rename(headerNames(firsts[i]))
		if !d.Header {
			for c, cell := range firsts[i] {
				if !d.isNull(cell) {
					known.add(&values[i][c], cell)
				}
			}
			names = d.rename(positions(len(firsts[i])))
			if len(names) > len(d.Names) {
				d.Names = names
			}
		}
		for c := range values[i] {
			if f := all.field(names[c]); f != nil {
				f.merge(&values[i][c])
			}
		}
	}
	t.Columns, t.Unique = all.columns(false), all.unique()
}

// rename replaces the first names of a file by the given names.
func (d *Dialect) rename(names []string) []string {
	n := min(len(d.Names), len(names))
	return append(slices.Clone(d.Names[:n]), names[n:]...)
}

// positions are the names of columns without a header.
func positions(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = "column" + strconv.Itoa(i)
	}
	return names
}

// headerNames returns the names of the columns of a header. A missing name becomes the position of
// the column. A name that occurs again gets a number.
func headerNames(cells []string) []string {
	names, seen := make([]string, len(cells)), map[string]bool{}
	for i, cell := range cells {
		name := strings.TrimSpace(cell)
		if name == "" {
			name = "column" + strconv.Itoa(i)
		}
		base := name
		for n := 1; seen[name]; n++ {
			name = base + "_" + strconv.Itoa(n)
		}
		seen[name], names[i] = true, name
	}
	return names
}

// isHeader reports whether the first rows of the files are names of columns.
func isHeader(firsts [][]string, rest []shape, d *Dialect, known *classifier) bool {
	first := firsts[0]
	seen, typed, data, odd := map[string]bool{}, false, false, false
	for i, cell := range first {
		var own shape
		if !d.isNull(cell) {
			known.add(&own, cell)
		}
		if cell == "" || seen[cell] { // fits a header only if another column proves it to be one
			odd = true
			continue
		}
		isName := own.texts+own.bools > 0 && len(cell) <= 128
		if isName && own.bools > 0 && rest[i].bools > 0 || !isName {
			return false
		}
		seen[cell] = true
		if rest[i].texts == 0 && rest[i].typeOf(false).Kind != vec.Text {
			typed = true
		}
		data = data || rest[i].texts+rest[i].nulls > 0
	}
	if typed || !data && !odd {
		return true
	}
	if odd {
		return false
	}
	if len(d.Names) > 0 { // all is text, and the names were given
		return slices.EqualFunc(first[:min(len(first), len(d.Names))], d.Names, strings.EqualFold)
	}
	for _, other := range firsts[1:] {
		if slices.Equal(other, first) {
			return true
		}
	}
	// all is text: names have no blanks around them and are no sentences
	for _, cell := range first {
		if strings.TrimSpace(cell) != cell || strings.Count(cell, " ") > 4 {
			return false
		}
	}
	return true
}
