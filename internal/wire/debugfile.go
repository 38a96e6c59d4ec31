package wire

import (
	"slices"

	"github.com/layshaft/layshaft/internal/report"
)

// SendDebugFiles passes files to send in pieces, each with the name of its file. An empty file is
// one empty piece.
func SendDebugFiles(files []report.DebugFile, send func(name string, piece []byte) error) error {
	for _, f := range files {
		if len(f.Data) == 0 {
			if err := send(f.Name, nil); err != nil {
				return err
			}
		}
		for piece := range slices.Chunk(f.Data, PieceSize) {
			if err := send(f.Name, piece); err != nil {
				return err
			}
		}
	}
	return nil
}

// AppendDebugFile appends a piece that SendDebugFiles has sent. Pieces of one file follow one
// another.
func AppendDebugFile(files []report.DebugFile, name string, piece []byte) []report.DebugFile {
	if n := len(files); n == 0 || files[n-1].Name != name {
		files = append(files, report.DebugFile{Name: name})
	}
	f := &files[len(files)-1]
	f.Data = append(f.Data, piece...)
	return files
}
