package csvio

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// cells is a row as a parser gives it, with the position of the next row.
type cells struct {
	text []string
	n    int
	next int
	bad  string
}

func rowAt(p *parser, from int) (c cells, more bool) {
	next, err := p.row(from)
	if errors.Is(err, errMore) {
		return c, true
	}
	c = cells{n: p.n, next: next}
	if err != nil {
		return cells{next: next, bad: err.Error()}, false
	}
	for i := range min(p.n, p.want) {
		c.text = append(c.text, p.text(i))
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
	whole, part := newParser(',', false, want), newParser(',', false, want)
	whole.reset(content, true)
	for from := 0; from < len(content); {
		all, _ := rowAt(whole, from)
		for k := from; k <= len(content); k++ {
			data := append(make([]byte, 0, k+slack), content[:k]...)
			part.reset(data, false)
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
		p := newParser(',', false, 0)
		p.reset(b, true)
		starts := map[int64]bool{}
		for from := 0; from < len(b); {
			starts[int64(from)] = true
			from, _ = p.row(from)
		}
		s := newScanner(',', 0, false)
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

func TestNumbers(t *testing.T) {
	for _, c := range []struct {
		s    string
		d    int
		want int64
		ok   bool
	}{
		{"12.34", 2, 1234, true}, {"-0.05", 2, -5, true}, {"+7", 2, 700, true}, {".5", 1, 5, true}, {"5.", 1, 50, true}, {"1.500", 1, 15, true},
		{"0", 18, 0, true}, {"9.223372036854775807", 18, 9223372036854775807, true}, {"9.223372036854775808", 18, 0, false}, {"92233720368547758.08", 2, 0, false},
		{"100000000000000000", 2, 0, false}, {"1.51", 1, 0, false}, {"", 2, 0, false}, {".", 2, 0, false}, {"-", 2, 0, false}, {"1e3", 2, 0, false}, {"1.2.3", 2, 0, false}, {" 1", 2, 0, false},
	} {
		if got, err := parseDecimal(c.s, c.d); got != c.want || (err == nil) != c.ok {
			t.Errorf("%q with %d decimals: %d, %v", c.s, c.d, got, err)
		}
	}
}

// The fast number parsers must agree with strconv on everything they accept, and refuse the rest.
func FuzzNumbers(f *testing.F) {
	for _, s := range []string{"0", "-0", "1.5", "123456789012345", "0.000000000000001", "9007199254740993", "-1e5", "+1", "1_0", "NaN", "0x10", "18446744073709551615", "-", ".", "5.", "999999999999999999", "9999999999999999999"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := parseFloat(s)
		want, werr := strconv.ParseFloat(s, 64)
		if (err == nil) != (werr == nil) || err == nil && math.Float64bits(got) != math.Float64bits(want) {
			t.Errorf("float %q: %v, %v; strconv %v, %v", s, got, err, want, werr)
		}
		n, err := parseInt(s)
		wantInt, werr := strconv.ParseInt(s, 10, 64)
		if (err == nil) != (werr == nil) || err == nil && n != wantInt {
			t.Errorf("int %q: %v, %v; strconv %v, %v", s, n, err, wantInt, werr)
		}
		u, err := parseUint(s)
		wantUint, werr := strconv.ParseUint(strings.TrimPrefix(s, "+"), 10, 64)
		if err == nil && (werr != nil && s != "-0" && !strings.HasPrefix(s, "-0") || u != wantUint) || err != nil && werr == nil {
			t.Errorf("uint %q: %v, %v; strconv %v, %v", s, u, err, wantUint, werr)
		}
	})
}
