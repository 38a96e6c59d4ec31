package bytesize

import (
	"encoding"
	"flag"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

var (
	_ flag.Value               = new(Size)
	_ encoding.TextUnmarshaler = new(Size)
	_ encoding.TextMarshaler   = Size(0)
)

func TestParse(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "0MiB": 0, "17": 17, "17B": 17, " 17 b ": 17, "9007199254740993": 9007199254740993,
		"256M": 256 << 20, "256m": 256 << 20, "256MiB": 256 << 20, "256mib": 256 << 20, "256 MiB": 256 << 20,
		"256MB": 256_000_000, "256mb": 256_000_000,
		"1K": 1 << 10, "1k": 1 << 10, "1KiB": 1 << 10, "1KB": 1000, "1kB": 1000,
		"2G": 2 << 30, "2GiB": 2 << 30, "2GB": 2_000_000_000, "3T": 3 << 40, "3TB": 3e12, "1P": 1 << 50, "1024PiB": Max,
		"1.5GiB": 3 << 29, "0.5K": 512, ".5M": 1 << 19, "1.25GB": 1_250_000_000, "1.1KiB": 1126,
	} {
		if got, err := Parse(text); err != nil || got != want {
			t.Errorf("Parse(%q) = %d, %v, want %d", text, got, err, want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"": "is not a size", " ": "is not a size", "M": "is not a size", "lots": "is not a size", "-1": "is not a size", "-1MiB": "is not a size",
		"1e9": "is not a size", "0x10": "is not a size", "NaN": "is not a size", "Inf": "is not a size", "1_000": "is not a size", "1,5GiB": "is not a size",
		"1.2.3MiB": "is not a size", ".": "is not a size", "256MiBs": "is not a size", "256iB": "is not a size", "256Mi": "is not a size", "1X": "is not a size",
		"1.5": "is a fraction of a byte", "0.1B": "is a fraction of a byte", "0.0001K": "is a fraction of a byte",
		"1025PiB": "the limit is 1024PiB", "1e": "is not a size", "99999999999999999999999": "the limit is 1024PiB", "2000000T": "the limit is 1024PiB",
	} {
		n, err := Parse(text)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Parse(%q) = %d, %v, want an error with %q", text, n, err, want)
		}
	}
	if _, err := Parse("lots"); err == nil || !strings.Contains(err.Error(), `"lots"`) || !strings.Contains(err.Error(), "256MiB") {
		t.Errorf("Parse(lots): %v, want the text and an example", err)
	}
}

func TestFormat(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 9 << 20: "9.0 MiB", 160 << 20: "160.0 MiB", 3 << 29: "1.5 GiB", 1<<20 - 1: "1.0 MiB",
		5 << 40: "5.0 TiB", 7 << 50: "7.0 PiB", 1 << 62: "4096.0 PiB", -1024: "-1.0 KiB", -1 << 63: "-9223372036854775808 B",
	} {
		if got := Format(n); got != want {
			t.Errorf("Format(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestSizeString(t *testing.T) {
	for size, want := range map[Size]string{0: "0B", 1: "1B", 1000: "1KB", 1024: "1KiB", 256 << 20: "256MiB", 2e9: "2GB", 1 << 40: "1TiB", 12345: "12345B"} {
		if got := size.String(); got != want {
			t.Errorf("Size(%d).String() = %q, want %q", int64(size), got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		want := Size(rapid.Int64Range(0, Max).Draw(t, "bytes"))
		var got Size
		if err := got.Set(want.String()); err != nil || got != want {
			t.Fatalf("%d printed as %s and parsed: %d, %v", int64(want), want, int64(got), err)
		}
	})
}

func TestFlag(t *testing.T) {
	var size Size
	fs := flag.NewFlagSet("test", flag.ContinueOnError)
	fs.SetOutput(new(strings.Builder))
	fs.Var(&size, "memory", "")
	if err := fs.Parse([]string{"-memory", "256M"}); err != nil || size != 256<<20 {
		t.Errorf("-memory 256M: %d, %v", size, err)
	}
	if err := fs.Parse([]string{"-memory", "lots"}); err == nil || size != 256<<20 {
		t.Errorf("-memory lots: %d, %v, want an error and the size of before", size, err)
	}
}
