package main

import (
	"testing"

	"github.com/layshaft/layshaft/internal/bytesize"
)

// Sizes mean what they mean in the flags of layshaft.
func TestParseSize(t *testing.T) {
	for _, text := range []string{"1", "7B", "64K", "64KiB", "4MB", "4m", "256M", "256 MiB", " 1.5G", "1GB", "1T", "2TiB",
		"", "K", "-1K", "1.5", "0x10", "1e3", "NaN", "Inf", "5P", "9999999999G", "4X", "4MBB"} {
		want, wrong := bytesize.Parse(text)
		if wrong != nil || want < 1 || want > 1<<40 {
			want = 0
		}
		if n, err := parseSize(text); int64(n) != want || (err == nil) != (want > 0) {
			t.Errorf("parseSize(%q) = %d, %v, want %d", text, n, err, want)
		}
	}
}
