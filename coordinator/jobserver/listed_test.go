package jobserver

import (
	"log/slog"
	"testing"

	"github.com/layshaft/layshaft/coordinator/datadir"
)

// What was listed is known to the next process; a damaged file is forgotten.
func TestListedSurvives(t *testing.T) {
	data, err := datadir.Open(t.TempDir(), datadir.Options{NoSync: true, Reserve: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer data.Close()
	dir, log := data.Files, slog.New(slog.DiscardHandler)
	var l listed
	if err := l.open(dir, log); err != nil {
		t.Fatal(err)
	}
	key, other := listKey{"d", "*.txt"}, listKey{"d", "x/*"}
	l.note(key, map[string][]uint64{"w1": {3, 1, 2}, "w2": {1, 2, 3}})
	l.note(other, map[string][]uint64{"w1": nil})
	var next listed
	if err := next.open(dir, log); err != nil {
		t.Fatal(err)
	}
	if n, known := next.missing(key, "w1", map[string][]uint64{"w2": {1, 2}}); n != 1 || !known {
		t.Errorf("%d names are missing, known %v; want 1", n, known)
	}
	if _, known := next.missing(key, "w3", nil); known {
		t.Error("a worker that was never listed is known")
	}
	if err := dir.Write(l.file(key), []byte("damaged")); err != nil {
		t.Fatal(err)
	}
	var last listed
	if err := last.open(dir, log); err != nil {
		t.Fatal(err)
	}
	if _, known := last.missing(key, "w1", nil); known {
		t.Error("a damaged list is known")
	}
	if _, known := last.missing(other, "w1", nil); !known {
		t.Error("the list beside a damaged one is forgotten")
	}
}
