// Package encodings adds encodings of text other than UTF-8 to package files. Import it for this
// effect. It is a package of its own because its tables belong only into programs that read such
// files.
package encodings

import (
	"io"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"

	"github.com/layshaft/layshaft/internal/files"
)

func init() {
	// The order is part of the splits of jobs: add new ones at the end.
	files.RegisterEncodings([]files.Encoding{
		{Names: []string{"latin-1", "latin1", "iso-8859-1", "iso8859-1", "iso_8859_1"}, Decode: decoder(charmap.ISO8859_1)},
		{Names: []string{"latin-9", "latin9", "iso-8859-15", "iso8859-15"}, Decode: decoder(charmap.ISO8859_15)},
		{Names: []string{"windows-1252", "cp1252", "ansi"}, Decode: decoder(charmap.Windows1252)},
		{Names: []string{"windows-1251", "cp1251"}, Decode: decoder(charmap.Windows1251)},
		{Names: []string{"utf-16", "utf16", "utf-16le", "utf16le"}, Decode: decoder(unicode.UTF16(unicode.LittleEndian, unicode.UseBOM))},
		{Names: []string{"utf-16be", "utf16be"}, Decode: decoder(unicode.UTF16(unicode.BigEndian, unicode.UseBOM))},
	})
}

// decoder returns the function that makes readers of text in e as UTF-8.
func decoder(e encoding.Encoding) func(io.Reader) io.Reader {
	return func(r io.Reader) io.Reader { return transform.NewReader(r, e.NewDecoder()) }
}
