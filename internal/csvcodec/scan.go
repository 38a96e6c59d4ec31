package csvcodec

import "bytes"

// A scanner finds the starts of rows without cutting them into fields. It jumps from quote to
// quote. It takes the input in blocks, in order. It may start after any line feed, but the caller
// must know whether that line feed is inside a quoted cell.
//
// It finds the same rows as type Parser, including malformed ones.
type scanner struct {
	comma byte
	mark  byte // the quote
	state scanState
	prev  byte  // the byte before the next block
	at    int64 // position of the next block
	// first is the start of the first row at or after the start of the scan; -1 when none was found
	// yet.
	first int64
}

type scanState byte

const (
	inRow    scanState = iota // outside quotes
	inQuotes                  // inside a quoted cell
	atQuote                   // after a quote inside a quoted cell: it closes the cell or is doubled
	inBadRow                  // after an error: the row ends at the next line feed
)

// newScanner returns a scanner for position at, which follows a line feed. quoted tells it that it
// starts inside a quoted cell.
func newScanner(comma, mark byte, at int64, quoted bool) scanner {
	s := scanner{comma: comma, mark: mark, prev: '\n', at: at, first: -1}
	if quoted {
		s.state = inQuotes
	} else {
		s.first = at
	}
	return s
}

// isQuoted reports whether a line feed at the end of the last block would be inside a quoted cell.
func (s *scanner) isQuoted() bool { return s.state == inQuotes }

// scan processes the next block.
func (s *scanner) scan(block []byte) {
	if len(block) == 0 {
		return
	}
	i, prev := 0, s.prev
	for i < len(block) {
		switch s.state {
		case inRow:
			q := find(block, i, len(block), s.mark)
			if s.first < 0 {
				s.seekRow(block, i, q)
			}
			if q < 0 {
				i = len(block)
				break
			}
			if q > 0 {
				prev = block[q-1]
			}
			if prev == s.comma || prev == '\n' {
				s.state = inQuotes
			} else {
				s.state = inBadRow
			}
			i = q + 1
		case inQuotes:
			q := find(block, i, len(block), s.mark)
			if q < 0 {
				i = len(block)
				break
			}
			s.state = atQuote
			i = q + 1
		case atQuote:
			switch block[i] {
			case s.mark:
				s.state = inQuotes
				i++
			case s.comma:
				s.state = inRow
				i++
			default:
				s.state = inBadRow // or the end of the line, which needs no other treatment
			}
		case inBadRow:
			q := bytes.IndexByte(block[i:], '\n')
			if q < 0 {
				i = len(block)
				break
			}
			i += q + 1
			s.state = inRow
			if s.first < 0 {
				s.first = s.at + int64(i)
			}
		}
	}
	s.prev = block[len(block)-1]
	s.at += int64(len(block))
}

// seekRow looks for the end of the current row in block[from:to]. If to is -1, it searches to the
// end of the block.
func (s *scanner) seekRow(block []byte, from, to int) {
	if to < 0 {
		to = len(block)
	}
	if i := bytes.IndexByte(block[from:to], '\n'); i >= 0 {
		s.first = s.at + int64(from+i+1)
	}
}
