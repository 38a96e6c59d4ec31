package jobserver

import (
	"bytes"
	"encoding/gob"
	"errors"
	"log/slog"
	"testing"

	"github.com/layshaft/layshaft/coordinator/datadir"
	"github.com/layshaft/layshaft/internal/state"
)

// TestFormats checks that files of another release are not read: the identities of workers protect
// the cluster, so their file is refused, and a list of files is made again.
func TestFormats(t *testing.T) {
	files, log := datadir.FilesIn(t.TempDir()), slog.New(slog.DiscardHandler)
	var o owners
	if err := o.open(files, log); err != nil {
		t.Fatal(err)
	}
	if err := o.claim("w1", "a"); err != nil {
		t.Fatal(err)
	}
	var next owners
	if err := next.open(files, log); err != nil {
		t.Fatal(err)
	}
	if err := next.claim("w1", "b"); err == nil {
		t.Error("another certificate took over a worker ID after a restart")
	}
	for _, content := range []string{`{"format":"layshaft owners 2","people":[]}`, `{"w1":"a"}`} {
		if err := files.Write(ownersFile, []byte(content+"\n")); err != nil {
			t.Fatal(err)
		}
		if err := new(owners).open(files, log); !errors.Is(err, state.ErrFormat) {
			t.Errorf("%s: %v, want ErrFormat", content, err)
		}
	}
	if err := files.Write(ownersFile, []byte("{damaged")); err != nil {
		t.Fatal(err)
	}
	if err := new(owners).open(files, log); err != nil {
		t.Errorf("a damaged file: %v", err)
	}

	key := listKey{"d", "*.txt"}
	for format, want := range map[int]bool{listFormat: true, listFormat + 1: false, 0: false} {
		var b bytes.Buffer
		if err := gob.NewEncoder(&b).Encode(listFile{format, key.dataset, key.glob, map[string][]uint64{"w1": {1}}}); err != nil {
			t.Fatal(err)
		}
		if err := files.Write(new(listed).file(key), b.Bytes()); err != nil {
			t.Fatal(err)
		}
		var l listed
		if err := l.open(files, log); err != nil {
			t.Fatal(err)
		}
		if _, known := l.missing(key, "w1", nil); known != want {
			t.Errorf("a list of format %d is known: %v, want %v", format, known, want)
		}
	}
}
