package main

import "testing"

func TestParseSize(t *testing.T) {
	for text, want := range map[string]int{"1": 1, "64K": 64 << 10, "64KiB": 64 << 10, "4MB": 4 << 20, "1G": 1 << 30, "7B": 7, "": 0, "K": 0, "-1K": 0, "5T": 0, "9999999999G": 0} {
		if n, err := parseSize(text); n != want || (err == nil) != (want > 0) {
			t.Errorf("parseSize(%q) = %d, %v, want %d", text, n, err, want)
		}
	}
}
