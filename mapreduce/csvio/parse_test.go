package csvio

import (
	"math"
	"strconv"
	"strings"
	"testing"
)

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
