package segment

import (
	"bytes"
	"testing"

	"github.com/layshaft/layshaft/internal/record"
)

func BenchmarkTrim(b *testing.B) {
	var block []byte
	key := bytes.Repeat([]byte("k"), 10)
	for len(block) < 64<<10 {
		block = record.AppendRecord(block, key, make([]byte, 88))
	}
	r := &trimmedRun{lo: []byte("a"), hi: []byte("z")}
	b.SetBytes(int64(len(block)))
	for b.Loop() {
		if out, err := r.trim(block); err != nil || len(out) != len(block) {
			b.Fatal(err)
		}
	}
}
