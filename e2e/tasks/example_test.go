//go:build unix

package tasks

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The map/reduce made by hand gives the same result as a loop, and the search finds all matches.
func TestScatterExample(t *testing.T) {
	c := newCluster(t)
	for range 2 {
		launch(t, "scatter", "-cluster", c.address, "work")
	}
	dir := t.TempDir()
	r := rand.New(rand.NewPCG(7, 0))
	words := map[string]int{}
	for i := range 3 {
		var text strings.Builder
		for range 20_000 {
			w := fmt.Sprintf("w%d", r.IntN(r.IntN(3000)+1))
			words[w]++
			text.WriteString(w)
			text.WriteByte(" \n\t "[r.IntN(4)])
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d.txt", i)), []byte(text.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var order []string
	for w := range words {
		order = append(order, w)
	}
	slices.SortFunc(order, func(a, b string) int { return cmp.Or(cmp.Compare(words[b], words[a]), cmp.Compare(a, b)) })
	var want strings.Builder
	for _, w := range order[:50] {
		fmt.Fprintf(&want, "%s\t%d\n", w, words[w])
	}
	got := run(t, "scatter", "-cluster", c.address, "-top", "50", "-piece", "10000", "count", filepath.Join(dir, "*.txt"))
	if got != want.String() {
		t.Errorf("count printed\n%swant\n%s", got, want.String())
	}

	poem := filepath.Join(dir, "poem.txt")
	if err := os.WriteFile(poem, []byte("A shaft inside\na gearbox, a Shaft\nof light"), 0o600); err != nil {
		t.Fatal(err)
	}
	got = run(t, "scatter", "-cluster", c.address, "-deadline", "30s", "search", "shaft a", filepath.Join(dir, "*.txt"))
	if want := fmt.Sprintf("%[1]s:1\tA shaft inside\n%[1]s:2\ta gearbox, a Shaft\n", poem); got != want {
		t.Errorf("search printed\n%swant\n%s", got, want)
	}
}
