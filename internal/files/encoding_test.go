package files

import (
	"io"
	"strings"
	"testing"
)

// Text of an encoding that this program does not know is an error, not text of UTF-8.
func TestUnknownEncoding(t *testing.T) {
	c := Codec(len(encodings)<<encodingShift) | Gzip
	if compression, encoding := c.split(); compression != Gzip || encoding == "" {
		t.Errorf("split: %v, %q, want gzip of a named encoding", compression, encoding)
	}
	b, err := io.ReadAll(decode(strings.NewReader("a\xe9\n"), c))
	if len(b) > 0 || err == nil || !strings.Contains(err.Error(), "which this program does not know") {
		t.Errorf("read %q, %v, want an error", b, err)
	}
}
