package wire

import (
	"bytes"
	"testing"

	"github.com/layshaft/layshaft/internal/report"
)

func TestDebugFiles(t *testing.T) {
	want := []report.DebugFile{{Name: "empty.txt"}, {Name: "long.txt", Data: bytes.Repeat([]byte("x"), 2*PieceSize+1)}, {Name: "short.txt", Data: []byte("y")}}
	var got []report.DebugFile
	pieces := 0
	err := SendDebugFiles(want, func(name string, piece []byte) error {
		pieces++
		got = AppendDebugFile(got, name, piece)
		return nil
	})
	if err != nil || pieces != 5 || len(got) != len(want) {
		t.Fatalf("%d files in %d pieces, want %d in 5: %v", len(got), pieces, len(want), err)
	}
	for i := range want {
		if got[i].Name != want[i].Name || !bytes.Equal(got[i].Data, want[i].Data) {
			t.Errorf("%s has %d bytes, want %s with %d", got[i].Name, len(got[i].Data), want[i].Name, len(want[i].Data))
		}
	}
}
