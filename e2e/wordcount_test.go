//go:build unix

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestWordCount compares the word count with a plain loop over the same files, however the work is
// divided.
func TestWordCount(t *testing.T) {
	glob := text(t, 5, 1<<20)
	names, err := filepath.Glob(glob)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]int{}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range strings.Fields(string(b)) {
			want[w]++
		}
	}
	var most []int
	for _, n := range want {
		most = append(most, n)
	}
	slices.Sort(most)
	slices.Reverse(most)

	for _, flags := range [][]string{{}, {"-slots", "1"}, {"-slots", "7", "-workers", "3"}, {"-slots", "2", "-memory", "16MiB"}} {
		t.Run(strings.Join(flags, " "), func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "out")
			r := run(t, "wordcount", append(flags, "-out", out, glob)...).succeeded(t)

			got := map[string]int{}
			parts, err := filepath.Glob(filepath.Join(out, "part-*.txt"))
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range parts {
				b, err := os.ReadFile(name)
				if err != nil {
					t.Fatal(err)
				}
				for word, n := range counts(t, string(b)) {
					got[word] += n
				}
			}
			if len(got) != len(want) {
				t.Errorf("%d words, want %d", len(got), len(want))
			}
			for word, n := range want {
				if got[word] != n {
					t.Fatalf("%s was counted %d times, want %d", word, got[word], n)
				}
			}

			lines := strings.Split(strings.TrimSpace(r.stdout), "\n")
			if len(lines) != 20 {
				t.Fatalf("%d lines were printed, want the top 20", len(lines))
			}
			for i, line := range lines {
				var word string
				var n int
				if _, err := fmt.Sscan(line, &word, &n); err != nil || n != most[i] || n != want[word] {
					t.Errorf("line %d is %q (%v), want one with the count %d", i+1, line, err, most[i])
				}
			}
		})
	}
}

// counts parses lines of word, tab and count.
func counts(t *testing.T, text string) map[string]int {
	t.Helper()
	all := map[string]int{}
	for line := range strings.Lines(text) {
		var word string
		var n int
		if _, err := fmt.Sscan(line, &word, &n); err != nil || all[word] != 0 {
			t.Fatalf("line %q: %v, or the word comes twice", line, err)
		}
		all[word] = n
	}
	return all
}
