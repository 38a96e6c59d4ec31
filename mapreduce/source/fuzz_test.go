package source_test

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"github.com/layshaft/layshaft/mapreduce/connector"
	"github.com/layshaft/layshaft/mapreduce/source"
)

// FuzzCuts reads any bytes with every format, whole and in small splits: the records are the same,
// and an error of the whole file is an error of one of its splits.
func FuzzCuts(f *testing.F) {
	for _, text := range []string{"", "a\n\nb\n", "12:00 x\n\tat\r\n12:01 y", "\xef\xbb\xbfa--b", "--", "\x03abc\x80", "# c\n \nK: v\n .\n"} {
		f.Add([]byte(text), uint8(3))
	}
	f.Fuzz(func(t *testing.T, data []byte, target uint8) { checkCuts(t, data, int64(target)) })
}

// TestRandomCuts does the same with texts of the pieces that the formats look for.
func TestRandomCuts(t *testing.T) {
	pieces := []string{"\n", "\n", "\n", "\r\n", "\r", " ", "\t", "--", "-", "12:00 ", "a", "K: v", "#", ".", "\xef\xbb\xbf", "\x02", "\x80", "\x00"}
	seeds := uint64(300)
	if testing.Short() {
		seeds = 50
	}
	for seed := range seeds {
		r := rand.New(rand.NewPCG(seed, 0))
		var text []byte
		for range r.IntN(30) {
			text = append(text, pieces[r.IntN(len(pieces))]...)
		}
		if checkCuts(t, text, r.Int64N(12)); t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// checkCuts compares the records of a whole file with the records of its splits.
func checkCuts(t *testing.T, data []byte, target int64) {
	stamp := regexp.MustCompile(`^\d\d:\d\d `)
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]source.Source[string]{
		"Separated":   source.Separated("--", path),
		"Starting":    source.Starting(stamp, path),
		"Paragraphs":  source.Paragraphs(path),
		"Delimited":   source.Delimited(path),
		"lines":       source.Separated("\n", path),
		"overlapping": source.Separated("\n\n", path),
	} {
		whole, err := records(t, s, 0)
		cut, cutErr := records(t, s, max(1, target))
		if (err == nil) != (cutErr == nil) || err == nil && !slices.Equal(whole, cut) {
			t.Errorf("%s: whole %q, %v; in splits %q, %v", name, whole, err, cut, cutErr)
		}
	}
}

// records returns the records of all splits, and the first error.
func records(t *testing.T, s connector.Source[string], target int64) (all []string, err error) {
	splits, err := s.Splits(t.Context(), target)
	if err != nil {
		return nil, err
	}
	r := connector.NewReader(func(v *string) { all = append(all, *v) }, func(err error, _ []byte) error { return err })
	for _, sp := range splits {
		if err := s.Read(t.Context(), sp, r); err != nil {
			return nil, err
		}
	}
	return all, nil
}
