package textio

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/layshaft/layshaft/internal/files"
	"github.com/layshaft/layshaft/mapreduce/connector"
)

// words returns what fields emits, and checks the positions.
func words(t *testing.T, text string) []string {
	var out []string
	r := connector.NewReader[string](nil, nil)
	r.Emit = func(w *string) {
		if at := r.Offset - 100; at < 0 || !strings.HasPrefix(text[at:], *w) {
			t.Errorf("%q: word %q is not at %d", text, *w, at)
		}
		out = append(out, *w)
	}
	if n, ok := fields(files.Chunk{Offset: 100, Data: []byte(text)}, r); !ok || n != int64(len(out)) {
		t.Errorf("%q: fields returned %d, %v; it emitted %d", text, n, ok, len(out))
	}
	return out
}

func checkFields(t *testing.T, text string) {
	if got, want := words(t, text), strings.Fields(text); !slices.Equal(got, want) {
		t.Errorf("%q\n got %q\nwant %q", text, got, want)
	}
}

func TestFieldsEveryByte(t *testing.T) {
	for b := range 256 {
		for _, pad := range []int{0, 7, 62, 63, 64} {
			checkFields(t, strings.Repeat("x", pad)+"a"+string([]byte{byte(b)})+"b")
		}
	}
}

func TestFieldsRandom(t *testing.T) {
	parts := []string{" ", " ", "\n", "\t", "\r\n", "a", "bc", "word", "é", "\u00a0", "\u0085", "\u1680", "\u2003", "\u2028", "\u202f",
		"\u205f", "\u3000", "日本", "\xff", "\xc2", "\xe2\x80", "\x00", strings.Repeat("long", 20), strings.Repeat(" ", 70)}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		var text strings.Builder
		for range rng.IntN(60) {
			text.WriteString(parts[rng.IntN(len(parts))])
		}
		checkFields(t, text.String())
	}
}

func FuzzFields(f *testing.F) {
	f.Add("a b\u00a0c\r\nd " + strings.Repeat("x", 64))
	f.Add(strings.Repeat("ab ", 64) + "\xe2\x80")
	f.Fuzz(checkFields)
}
