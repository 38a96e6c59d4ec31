// Package bytesize parses and prints numbers of bytes, for every flag, page, table, log line and
// error of the project. The same text therefore means the same size everywhere.
//
// A size is a number and a unit, with or without spaces between them. Upper and lower case are
// the same:
//
//	256          bytes; 256B is the same
//	256MiB       256 × 2^20 bytes; 256M is the same, as in the memory flags of most programs
//	256MB        256 × 10^6 bytes
//
// The prefixes are K, M, G, T and P. Fractions such as 1.5GiB are accepted.
package bytesize

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Max is the largest size that Parse accepts: 2^60 bytes. Sums of a few sizes fit into an int64.
const Max = 1 << 60

// prefixes are the letters before iB and B; each is 1,024 or 1,000 times the one before.
const prefixes = "KMGTP"

// Parse returns the number of bytes in text. The error names text and shows valid sizes.
func Parse(text string) (int64, error) {
	trimmed := strings.TrimSpace(text)
	end := strings.IndexFunc(trimmed, func(r rune) bool { return (r < '0' || r > '9') && r != '.' })
	if end < 0 {
		end = len(trimmed)
	}
	number, unit := trimmed[:end], strings.ToUpper(strings.TrimSpace(trimmed[end:]))
	factor, ok := unitBytes(unit)
	if !ok || number == "" {
		return 0, fmt.Errorf("%q is not a size; write a number with a unit, such as 256MiB or 2GB", text)
	}
	if n, err := strconv.ParseInt(number, 10, 64); err == nil && n <= Max/factor {
		return n * factor, nil
	}
	f, err := strconv.ParseFloat(number, 64)
	switch {
	case math.IsInf(f, 1) || f*float64(factor) > Max:
		return 0, fmt.Errorf("size %q is too large; the limit is %v", text, Size(Max))
	case err != nil:
		return 0, fmt.Errorf("%q is not a size; write a number with a unit, such as 256MiB or 2GB", text)
	case factor == 1 || f > 0 && f*float64(factor) < 1:
		return 0, fmt.Errorf("size %q is a fraction of a byte; write a whole number of bytes, or a unit such as MiB", text)
	}
	return int64(f * float64(factor)), nil
}

// unitBytes returns the number of bytes of a unit in upper case.
func unitBytes(unit string) (int64, bool) {
	if unit == "" || unit == "B" {
		return 1, true
	}
	i := strings.IndexByte(prefixes, unit[0])
	if i < 0 {
		return 0, false
	}
	factor, base := int64(1), int64(1024)
	switch unit[1:] {
	case "", "IB":
	case "B":
		base = 1000
	default:
		return 0, false
	}
	for range i + 1 {
		factor *= base
	}
	return factor, true
}

// Format returns n for people: a number with one decimal in the largest unit of 1,024 bytes that
// fits, such as 1.5 GiB. It rounds; Size.String does not.
func Format(n int64) string {
	if n < 0 && n > math.MinInt64 {
		return "-" + Format(-n)
	}
	if n < 1<<10 {
		return fmt.Sprintf("%d B", n)
	}
	f, i := float64(n)/1024, 0
	for f >= 1023.95 && i < len(prefixes)-1 {
		f, i = f/1024, i+1
	}
	return fmt.Sprintf("%.1f %ciB", f, prefixes[i])
}

// Size is a number of bytes on the command line. *Size is a flag.Value, an encoding.TextUnmarshaler
// and an encoding.TextMarshaler.
type Size int64

// Set parses text as Parse does.
func (s *Size) Set(text string) error {
	n, err := Parse(text)
	if err == nil {
		*s = Size(n)
	}
	return err
}

// String returns the shortest text from which Parse returns exactly this size, such as 256MiB or
// 2GB.
func (s Size) String() string {
	shortest := strconv.FormatInt(int64(s), 10) + "B"
	for _, prefix := range prefixes {
		for _, suffix := range []string{"iB", "B"} {
			unit := string(prefix) + suffix
			factor, _ := unitBytes(strings.ToUpper(unit))
			if int64(s)%factor != 0 {
				continue
			}
			if text := strconv.FormatInt(int64(s)/factor, 10) + unit; len(text) < len(shortest) {
				shortest = text
			}
		}
	}
	return shortest
}

// UnmarshalText parses text as Parse does.
func (s *Size) UnmarshalText(text []byte) error { return s.Set(string(text)) }

// MarshalText returns the text of String.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
