package worker

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/worker/internal/shuffle"
)

// Segments of a worker on the same machine are read from their files, and segments of other machines are not.
// A worker is on the same machine if the mark of its store is found where it says.
func TestFilesOfNeighbour(t *testing.T) {
	noLeaks(t)
	large := block{data: bytes.Repeat([]byte("large"), 100_000), records: 1}
	small := block{data: []byte("small"), records: 1} // kept without a segment
	tests := []struct {
		name      string
		change    func(t *testing.T, s *served, server *outputServer, far *remoteOutputs)
		block     block
		wantCalls bool
	}{
		{"same machine", func(*testing.T, *served, *outputServer, *remoteOutputs) {}, large, false},
		{"no segment", func(*testing.T, *served, *outputServer, *remoteOutputs) {}, small, true},
		{"reader wants none", func(_ *testing.T, _ *served, _ *outputServer, far *remoteOutputs) { far.readsFiles = false }, large, true},
		{"worker shares none", func(_ *testing.T, _ *served, server *outputServer, _ *remoteOutputs) { server.place = shuffle.Place{} }, large, true},
		{"another mark", func(t *testing.T, s *served, _ *outputServer, _ *remoteOutputs) {
			if err := os.WriteFile(filepath.Join(s.dir, "mark"), []byte("of another worker"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, large, true},
		{"another directory", func(t *testing.T, _ *served, server *outputServer, _ *remoteOutputs) { server.place.Dir = t.TempDir() }, large, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := serveStore(t, shuffle.Options{})
			far := newRemote(s.conn, "w", newManifestCache())
			far.readsFiles = true
			var err error
			if s.server.place, err = s.store.Place(); err != nil {
				t.Fatal(err)
			}
			test.change(t, s, s.server, far)
			a := job.Attempt{Job: "j", N: 1}
			s.seal(t, a, test.block)
			runs, err := far.Runs(a, 0, 0)
			if err != nil {
				t.Fatal(err)
			}
			content, err := readAll(runs)
			if err != nil || len(content) != 1 || !bytes.HasPrefix(content[0], append(test.block.data, '|')) {
				t.Errorf("%d runs, error %v; want the block that was written", len(content), err)
			}
			if called := s.calls.Load() > 0; called != test.wantCalls {
				t.Errorf("ReadOutput was called: %v, want %v", called, test.wantCalls)
			}
		})
	}
}
