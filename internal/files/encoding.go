package files

import (
	"fmt"
	"io"
	"strings"
)

// The high bits of a Codec are the index in encodings of the encoding of the text, below the
// compression. A file in another encoding than UTF-8 is read as UTF-8, and cannot be cut.
const encodingShift = 4

// Encoding is an encoding of text.
type Encoding struct {
	Names  []string // in lower case; the first name is for messages
	Decode func(io.Reader) io.Reader
}

// encodings are the encodings that this program can read.
var encodings = []Encoding{{Names: []string{"utf-8", "utf8"}}}

// RegisterEncodings sets the encodings beside UTF-8 that this program can read; package encodings
// calls it.
func RegisterEncodings(all []Encoding) { encodings = append(encodings[:1], all...) }

// EncodedAs returns the file, to be read as text of an encoding such as latin-1.
func (f File) EncodedAs(name string) (File, error) {
	var known []string
	for i, e := range encodings {
		for _, n := range e.Names {
			if strings.EqualFold(n, name) {
				f.Codec |= Codec(i << encodingShift)
				return f, nil
			}
		}
		known = append(known, e.Names[0])
	}
	return f, fmt.Errorf("the encoding %q is not known; the encodings are %s", name, strings.Join(known, ", "))
}

// split returns the compression and the name of the encoding, which is empty for UTF-8.
func (c Codec) split() (compression Codec, encoding string) {
	switch i := int(c >> encodingShift); {
	case i >= len(encodings):
		encoding = fmt.Sprintf("encoding number %d", i)
	case i > 0:
		encoding = encodings[i].Names[0]
	}
	return c & (1<<encodingShift - 1), encoding
}

// decode returns a reader of r as UTF-8.
func decode(r io.Reader, c Codec) io.Reader {
	switch i := int(c >> encodingShift); {
	case i >= len(encodings):
		return unknownEncoding(i)
	case i > 0:
		return encodings[i].Decode(r)
	}
	return r
}

// unknownEncoding is a reader of text in an encoding without a decoder, by its index.
type unknownEncoding int

func (i unknownEncoding) Read([]byte) (int, error) {
	return 0, fmt.Errorf("its text has the encoding number %d, which this program does not know; the workers and the program that submits need one release", int(i))
}
