package avroio

import (
	"bytes"
	"slices"
	"testing"

	"github.com/hamba/avro/v2/ocf"
)

// Files that are cut off or damaged are errors: no record is left out silently, and no block
// allocates more than the file has.
func TestGuard(t *testing.T) {
	var b bytes.Buffer
	e, err := ocf.NewEncoder(`"string"`, &b, ocf.WithBlockLength(2)) // without compression
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{"a", "b", "c", "d"} {
		if err := e.Encode(s); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	rows := func(data []byte) (n int, err error) {
		d, err := ocf.NewDecoder(newGuard(bytes.NewReader(data), int64(len(data))), ocf.WithDecoderConfig(config))
		if err != nil {
			return 0, err
		}
		defer d.Close()
		for d.HasNext() {
			var s string
			if err := d.Decode(&s); err != nil {
				return n, err
			}
			n++
		}
		return n, d.Error()
	}
	whole := b.Bytes()
	mark := whole[len(whole)-markSize:]
	first := bytes.Index(whole, mark) + markSize
	second := first + bytes.Index(whole[first:], mark) + markSize
	for at := range len(whole) + 1 {
		n, err := rows(whole[:at])
		if want := map[int]int{first: 0, second: 2, len(whole): 4}; (err == nil) != (at == first || want[at] > 0) || err == nil && n != want[at] {
			t.Errorf("the first %d bytes of %d: %d rows, %v", at, len(whole), n, err)
		}
	}
	for head, want := range map[string]int{
		"\x04\xfe\xff\xff\xff\xff\xff\xff\xff\x7f": -1, // 2 records, 2^62 bytes
		"\x04\xfe\xff\xff\xff\xff\x1f":             -1, // 2 records, 2^39 bytes
		"\x04\x01":                                 -1, // a negative size
		"\x03\x00":                                 -1, // a negative number
		"\x00\x00" + string(mark):                  4,  // an empty block
	} {
		n, err := rows(slices.Concat(whole[:second], []byte(head), whole[second:]))
		if (want < 0) != (err != nil) || want >= 0 && n != want {
			t.Errorf("%q: %d rows, %v", head, n, err)
		}
	}
}
