package csvcodec

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
)

// cells is a row as a parser gives it, with the position of the next row.
type cells struct {
	text []string
	n    int
	next int
	bad  string
}

func rowAt(p *Parser, from int) (c cells, more bool) {
	next, err := p.Row(from)
	if errors.Is(err, ErrMore) {
		return c, true
	}
	c = cells{n: p.N, next: next}
	if err != nil {
		return cells{next: next, bad: err.Error()}, false
	}
	for i := range min(p.N, p.want) {
		c.text = append(c.text, p.Text(i))
	}
	return c, false
}

func (c cells) equal(d cells) bool {
	return slices.Equal(c.text, d.text) && c.n == d.n && c.next == d.next && c.bad == d.bad
}

// A parser that sees only the start of a file must either ask for more, or give what it would give
// with all of it.
func checkPrefixes(t *testing.T, content []byte, want int) {
	t.Helper()
	whole, part := New(',', '"', want), New(',', '"', want)
	whole.Reset(content, true)
	for from := 0; from < len(content); {
		all, _ := rowAt(whole, from)
		for k := from; k <= len(content); k++ {
			data := append(make([]byte, 0, k+Slack), content[:k]...)
			part.Reset(data, false)
			if got, more := rowAt(part, from); !more && !got.equal(all) {
				t.Fatalf("%q from %d, first %d bytes: %+v, with all of it %+v", content, from, k, got, all)
			}
			if more := part.data; k >= all.next && all.next < len(content) && len(more) > all.next+1 {
				if _, asks := rowAt(part, from); asks {
					t.Fatalf("%q from %d: asks for more than %d bytes, the row ends at %d", content, from, k, all.next)
				}
			}
		}
		from = all.next
	}
}

func TestPrefixes(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 0))
	for range 300 {
		b := make([]byte, rng.IntN(50))
		for i := range b {
			b[i] = "aaa,,\"\"\r\n"[rng.IntN(9)]
		}
		checkPrefixes(t, b, rng.IntN(5))
	}
}

func FuzzPrefixes(f *testing.F) {
	f.Add([]byte("a,\"b\"\"\nc\",d\r\ne"), 2)
	f.Add([]byte("\"a\"x\nb\"c\n"), 1)
	f.Fuzz(func(t *testing.T, b []byte, want int) {
		if len(b) < 200 {
			checkPrefixes(t, b, want&7)
		}
	})
}

// The scanner must find the row starts that the parser finds, wherever its blocks end.
func TestScannerAgreesWithParser(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 0))
	for range 2000 {
		b := make([]byte, rng.IntN(60))
		for i := range b {
			b[i] = "aa,,\"\"\n\r\n"[rng.IntN(9)]
		}
		p := New(',', '"', 0)
		p.Reset(b, true)
		starts := map[int64]bool{}
		for from := 0; from < len(b); {
			starts[int64(from)] = true
			from, _ = p.Row(from)
		}
		s := newScanner(',', '"', 0, false)
		for at := 0; at < len(b); {
			n := min(1+rng.IntN(5), len(b)-at)
			s.scan(b[at : at+n])
			at += n
			if b[at-1] == '\n' && at < len(b) && starts[int64(at)] == s.isQuoted() {
				t.Fatalf("%q: row start at %d: parser %v, scanner %v", b, at, starts[int64(at)], !s.isQuoted())
			}
		}
	}
}
