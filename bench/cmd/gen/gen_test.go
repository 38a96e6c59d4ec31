package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"testing"
)

// The beginnings of some files, and one whole file, of the data that bench/data.sha256 lists.
// Figures can be compared over time only while these stay the same.
func TestBytesAreTheSameForEver(t *testing.T) {
	const rows = 10_000_000
	want := map[string]string{
		"text 0":     "4cbde2b818cbf5828f5bf1df8484bccb5643142328604fd81c1d83351fd70f96",
		"text 15":    "e7b805201ab4cd18233c9c91e51199945e80b5849e7f06f7b52fb9030ed7e35d",
		"jsonl 0":    "52d085bc72cccadf15acf151c146823c9cc9871246410a03a2e9352fd0ec9fc6",
		"jsonl 15":   "b2736e0cc9baafc4ca09a04df0ab412ce1d682977d1af547a7d20e0867bb7838",
		"csv 0":      "0c7b888bcd2c24d4fdfbe91a513319a55cca5e02a7889a766a8906da85b34317",
		"csv 15":     "859c0a7e661c12fe623891e37ce05b98d9497e66e1eca3eac1fee1042fc370bd",
		"records 0":  "441cc0bbe43c0011c7cd9dcf08374c75c18ee7e11a09947835beb7468a2d6407",
		"records 15": "13857b881496331ff373c7aeee275d4c58ddf9503ad1f0592655cc508870a759",
		"overrides":  "a270cda4fa8bd09a15b95afade8ffd67ee61ab64fe1d5c1dfdde334a9901e390",
	}
	hashes := map[string]hash.Hash{}
	to := func(name string) io.Writer {
		hashes[name] = sha256.New()
		return hashes[name]
	}
	words, products := newText(), newCatalog()
	for _, part := range []int{0, 15} {
		if err := words.write(to(fmt.Sprint("text ", part)), part, 64<<10); err != nil {
			t.Fatal(err)
		}
		from := part * rows / parts
		if err := products.write(to(fmt.Sprint("jsonl ", part)), to(fmt.Sprint("csv ", part)), part, from, from+200); err != nil {
			t.Fatal(err)
		}
		from = part * ((1 << 30) / recordSize) / parts
		if err := writeRecords(to(fmt.Sprint("records ", part)), part, from, from+200); err != nil {
			t.Fatal(err)
		}
	}
	if err := writeOverrides(to("overrides"), rows, 100_000); err != nil {
		t.Fatal(err)
	}
	for name, h := range hashes {
		if got := hex.EncodeToString(h.Sum(nil)); got != want[name] {
			t.Errorf("%s: SHA-256 %s, want %s", name, got, want[name])
		}
	}
	if len(hashes) != len(want) {
		t.Errorf("%d outputs checked, want %d", len(hashes), len(want))
	}
}
