package stanzaio_test

import (
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/layshaft/layshaft/mapreduce/connector"
	"github.com/layshaft/layshaft/mapreduce/source"
	"github.com/layshaft/layshaft/mapreduce/stanzaio"
)

// FuzzStanzas reads any text. A paragraph that can be written is read again as it was.
func FuzzStanzas(f *testing.F) {
	for _, text := range []string{list, "A: b", "A:\n .\n c", "A: b\r\n\r\nC: d", ": x", " x", "A: \xff", "A: b\nA: c", "A:\n\n#\n\tb"} {
		f.Add(text)
	}
	f.Fuzz(checkRoundTrip)
}

// TestRandomStanzas does the same with texts of the pieces that the format looks for.
func TestRandomStanzas(t *testing.T) {
	pieces := []string{"\n", "\n", "\n", "\r\n", "\r", " ", "\t", ".", "a", "K:", "k:", ": ", "#", "\xef\xbb\xbf", "\xff", "\x00", "é"}
	seeds := uint64(300)
	if testing.Short() {
		seeds = 50
	}
	for seed := range seeds {
		r := rand.New(rand.NewPCG(seed, 0))
		var text strings.Builder
		for range r.IntN(30) {
			text.WriteString(pieces[r.IntN(len(pieces))])
		}
		if checkRoundTrip(t, text.String()); t.Failed() {
			t.Fatalf("seed %d: %q", seed, text.String())
		}
	}
}

// checkRoundTrip writes what it can read of a text, and reads it again.
func checkRoundTrip(t *testing.T, text string) {
	stanzas, err := readAll(t, stanzaio.Stanzas(write(t, text)))
	if err != nil {
		return
	}
	path := filepath.Join(t.TempDir(), "out")
	sink := stanzaio.WriteFile[stanzaio.Stanza](path)
	w, err := sink.Open(t.Context(), connector.SinkTask{Job: "job", Of: 1, Attempt: 1})
	if err != nil {
		t.Fatal(err)
	}
	var written []stanzaio.Stanza
	for _, s := range stanzas {
		if w.Write(&s) == nil {
			written = append(written, s)
		}
	}
	part, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	if err := sink.Finish(t.Context(), "job", [][]byte{part}); err != nil {
		t.Fatal(err)
	}
	if got, err := readAll(t, stanzaio.Stanzas(path)); err != nil || !reflect.DeepEqual(got, written) {
		t.Errorf("%q, %v; want %q", got, err, written)
	}
}

// readAll returns all values of a source.
func readAll[T any](t *testing.T, s source.Source[T]) (all []T, err error) {
	splits, err := s.Splits(t.Context(), 7)
	if err != nil {
		return nil, err
	}
	r := connector.NewReader(func(v *T) { all = append(all, *v) }, func(err error, _ []byte) error { return err })
	for _, sp := range splits {
		if err := s.Read(t.Context(), sp, r); err != nil {
			return nil, err
		}
	}
	return all, nil
}
