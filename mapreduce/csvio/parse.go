package csvio

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"unsafe"
)

// slack is how many bytes must be addressable behind the data that a parser reads: it loads whole words.
const slack = 8

// errMore says that a row does not end within the data.
var errMore = errors.New("row goes on")

// A parser cuts rows into fields. It looks at every byte once or twice, by word or by vector: it finds the line feed, then
// the separators up to the last field wanted, and only counts those behind it. Where the next quote is stays known from row to
// row, so data without quotes is searched for them once. A row of 200 bytes and 11 columns takes about 70 ns, and 170 with reading
// the file and decoding five of them (BenchmarkRead).
//
// What a row is follows RFC 4180 as encoding/csv reads it: a malformed row ends at the first line feed after the
// byte that is wrong, so that one bad row does not spoil the next. Type scanner agrees with that.
type parser struct {
	data  []byte
	last  bool // nothing follows data
	comma byte
	plain bool // quotes are ordinary bytes
	want  int  // fields to keep; those behind are only counted
	quote int  // position of the first quote at or after the current row; len(data) when none

	// The current row. Fields holds the first want fields; cells without their outer quotes.
	fields []field
	n      int // number of fields
	feeds  int // line feeds in the row, the closing one included
}

type field struct {
	from, to int  // in data
	doubled  bool // holds doubled quotes
}

func newParser(comma byte, plain bool, want int) *parser {
	return &parser{comma: comma, plain: plain, want: want, fields: make([]field, want)}
}

// reset gives the parser new data, of which slack bytes more are addressable.
func (p *parser) reset(data []byte, last bool) {
	p.data, p.last = data, last
	p.quote = -1
	p.seekQuote(0)
}

func (p *parser) seekQuote(from int) {
	if p.plain {
		p.quote = len(p.data)
	} else if p.quote < from {
		p.quote = find(p.data, from, len(p.data), '"')
		if p.quote < 0 {
			p.quote = len(p.data)
		}
	}
}

// find returns the position of the first c in data[from:to], or -1. It is fast for distances both short and long.
func find(data []byte, from, to int, c byte) int {
	if from+slack <= cap(data) {
		const ones, highs = 0x0101010101010101, 0x8080808080808080
		x := binary.LittleEndian.Uint64(data[from:from+8:cap(data)]) ^ (ones * uint64(c))
		if m := (x - ones) &^ x & highs; m != 0 {
			if i := from + bits.TrailingZeros64(m)>>3; i < to {
				return i
			}
			return -1
		}
		from += 8
		if from >= to {
			return -1
		}
	}
	i := bytes.IndexByte(data[from:to], c)
	if i < 0 {
		return -1
	}
	return from + i
}

// row cuts the row that starts at from and returns where the next one starts. A blank line is a row of zero fields.
// It returns errMore when the row does not end within the data, and a *rowError, with next behind the row, when it is malformed.
func (p *parser) row(from int) (next int, err error) {
	data := p.data
	feed := bytes.IndexByte(data[from:], '\n')
	if feed < 0 && !p.last {
		return 0, errMore
	}
	end, next := p.lineEnd(from, feed)
	p.n, p.feeds = 0, 1
	if from == end {
		return next, nil
	}
	p.seekQuote(from)
	if p.quote < end {
		return p.quotedRow(from, end, next)
	}
	n, want := 0, p.want
	for n < want {
		to := find(data, from, end, p.comma)
		if to < 0 {
			p.fields[n] = field{from: from, to: end}
			p.n = n + 1
			return next, nil
		}
		p.fields[n] = field{from: from, to: to}
		n++
		from = to + 1
	}
	p.n = n + 1 + bytes.Count(data[from:end], []byte{p.comma})
	return next, nil
}

// lineEnd returns where the line that starts at from ends, without and with its line feed, which is feed bytes on.
func (p *parser) lineEnd(from, feed int) (end, next int) {
	if feed < 0 {
		end, next = len(p.data), len(p.data)
	} else {
		end, next = from+feed, from+feed+1
	}
	if end > from && p.data[end-1] == '\r' {
		end--
	}
	return end, next
}

// quotedRow is row for a row with quotes. end and next are those of the first line.
func (p *parser) quotedRow(from, end, next int) (int, error) {
	data := p.data
	for n := 0; ; n++ {
		var f field
		if from < end && data[from] == '"' {
			f.from = from + 1
			to, doubled, err := p.closingQuote(from + 1)
			if err != nil {
				p.feeds += bytes.Count(data[from:], []byte{'\n'})
				return len(data), err
			}
			f.to, f.doubled = to, doubled
			p.seekQuote(to + 1)
			if to >= end { // beyond the first line
				feed := bytes.IndexByte(data[to+1:], '\n')
				if feed < 0 && !p.last {
					return 0, errMore
				}
				p.feeds += bytes.Count(data[from:to], []byte{'\n'})
				end, next = p.lineEnd(to+1, feed)
			}
			from = to + 1
			if from < end && data[from] != p.comma {
				return next, &rowError{column: n, what: `a character follows a closing quote; double quotes inside a quoted cell, as in "a 5"" pipe"`}
			}
		} else {
			to := find(data, from, end, p.comma)
			if to < 0 {
				to = end
			}
			if p.quote < to {
				return next, &rowError{column: n, what: `a quote in a cell that does not start with one; quote the cell and double the quote, as in "a 5"" pipe"`}
			}
			f.from, f.to = from, to
			from = to
		}
		if n < p.want {
			p.fields[n] = f
		}
		if from == end {
			p.n = n + 1
			return next, nil
		}
		from++ // the comma
	}
}

// closingQuote returns the position of the quote that closes the cell whose content starts at from. When it is the last
// byte of the data it may yet be one of a pair, but then the row has no end in the data either.
func (p *parser) closingQuote(from int) (at int, doubled bool, err error) {
	for i := from; ; i += 2 {
		i = find(p.data, i, len(p.data), '"')
		switch {
		case i < 0 && p.last:
			return 0, false, &rowError{column: -1, what: "a quoted cell that never ends; close it"}
		case i < 0:
			return 0, false, errMore
		case i+1 == len(p.data) || p.data[i+1] != '"':
			return i, doubled, nil
		}
		doubled = true
	}
}

// text returns a kept cell. It is an alias of the data, unless the cell holds doubled quotes.
func (p *parser) text(i int) string {
	f := &p.fields[i]
	if f.doubled {
		return string(bytes.ReplaceAll(p.data[f.from:f.to], []byte(`""`), []byte{'"'}))
	}
	return unsafe.String(unsafe.SliceData(p.data[f.from:f.to]), f.to-f.from)
}

// A rowError says what is wrong with the form of a row.
type rowError struct {
	column int // from 0; -1 when not known
	what   string
}

func (e *rowError) Error() string {
	if e.column < 0 {
		return e.what
	}
	return fmt.Sprintf("column %d: %s", e.column+1, e.what)
}
