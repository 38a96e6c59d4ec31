package files

import (
	"fmt"
	"io"
	"strings"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"
)

// The high bits of a Codec are the index in encodings of the encoding of the text, below the
// compression. A file in another encoding than UTF-8 is read as UTF-8, and cannot be cut.
const encodingShift = 4

// encodings are the encodings of text and their names; the first name is for messages.
var encodings = []struct {
	names    []string
	encoding encoding.Encoding
}{
	{[]string{"utf-8", "utf8"}, nil},
	{[]string{"latin-1", "latin1", "iso-8859-1", "iso8859-1", "iso_8859_1"}, charmap.ISO8859_1},
	{[]string{"latin-9", "latin9", "iso-8859-15", "iso8859-15"}, charmap.ISO8859_15},
	{[]string{"windows-1252", "cp1252", "ansi"}, charmap.Windows1252},
	{[]string{"windows-1251", "cp1251"}, charmap.Windows1251},
	{[]string{"utf-16", "utf16", "utf-16le", "utf16le"}, unicode.UTF16(unicode.LittleEndian, unicode.UseBOM)},
	{[]string{"utf-16be", "utf16be"}, unicode.UTF16(unicode.BigEndian, unicode.UseBOM)},
}

// EncodedAs returns the file, to be read as text of an encoding such as latin-1.
func (f File) EncodedAs(name string) (File, error) {
	var known []string
	for i, e := range encodings {
		for _, n := range e.names {
			if strings.EqualFold(n, name) {
				f.Codec |= Codec(i << encodingShift)
				return f, nil
			}
		}
		known = append(known, e.names[0])
	}
	return f, fmt.Errorf("the encoding %q is not known; the encodings are %s", name, strings.Join(known, ", "))
}

// split returns the compression and the name of the encoding, which is empty for UTF-8.
func (c Codec) split() (compression Codec, encoding string) {
	if i := c >> encodingShift; i > 0 && int(i) < len(encodings) {
		encoding = encodings[i].names[0]
	}
	return c & (1<<encodingShift - 1), encoding
}

// decode returns a reader of r as UTF-8.
func decode(r io.Reader, c Codec) io.Reader {
	if i := c >> encodingShift; i > 0 && int(i) < len(encodings) {
		return transform.NewReader(r, encodings[i].encoding.NewDecoder())
	}
	return r
}
