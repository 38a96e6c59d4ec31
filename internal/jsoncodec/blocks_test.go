package jsoncodec

import (
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"
	"unsafe"
)

// wholeOf reports whether isWhole accepts a text, after it checked what the faster isPlain accepts.
func wholeOf(t *testing.T, text string, depth int) bool {
	b := append(append([]byte(text), '\n'), make([]byte, Padding)...)
	d := &Decoder{base: unsafe.Pointer(&b[0]), end: len(text)}
	whole := d.isWhole(0, depth)
	if strings.HasSuffix(text, "}") && len(text) >= leastFast && whole != d.isRegular(0, len(text), depth) {
		t.Errorf("%s: isPlain and isRegular differ", text)
	}
	return whole
}

// isWhole accepts everyday lines, whatever the position of the blocks, and no line that
// encoding/json refuses.
func TestIsWhole(t *testing.T) {
	if !hasClassify {
		t.Skip("no operation for blocks")
	}
	pad := func(n int) string { return strings.Repeat("x", n) }
	for n := range 140 {
		for _, text := range []string{
			`{"a":"` + pad(n) + `","b":{"c":"d","e":{}},"f":[1,"x",-2.5e7, true,[{"a":[]},{}],0]}`,
			`{"a":"` + pad(n) + `","b":{"c":"d","e":{"f":{}}},"g":"2024-07-04T01:55:31Z"}`,
			`{"a":"` + pad(n) + `","b":{"c":"d","e":{"f":"{"}},"g":"2024-07-04T01:55:31Z"}`,
			`{"a": "` + pad(n) + `", "b": {"c": 1, "d": -0.5},  "g" : "a,b:{}[]" , "h": [ ] , "i":[1, 2,"x"]}  `,
			`{"a":"` + pad(n) + `\"\\\u00e9\n","b\"":[true,false,null,"]"],"c":12345678901,"d":{}}`,
			`{"` + pad(n) + `":[[1,2],[3]],"b":[1],"c":["a","b"],"d":1}`,
			`{"` + pad(n) + `\\":1e5,"b":"\\","c":"","d":null}`,
			"{\t\"" + pad(n) + "\":\t1,\t\"b\"\r:\r\"of many letters\"\t}",
		} {
			if !json.Valid([]byte(text)) || !wholeOf(t, text, 0) {
				t.Fatalf("%s: not whole", text)
			}
			if rest := `,"k":` + text + "}"; !wholeOf(t, rest, 1) {
				t.Fatalf("%s: not whole", rest)
			}
		}
	}
	// damage of any kind is found
	found := 0
	r := rand.New(rand.NewPCG(1, 0))
	for i := range 60_000 {
		text := []byte(`{"a":"` + pad(r.IntN(70)) + `","b":{"c":"d\"e","e":{},"x":[1,"two",[3.5],{"z":1}]},"f":[1,"x",-2,true],"g":null, "h": "i"}`)
		if i%2 == 0 { // for isPlain
			text = []byte(`{"a":"` + pad(r.IntN(70)) + `","b":{"c":"de","e":{"g":"h","x":"1","y":{"z":":"}}},"h":"i"}`)
		}
		for range 1 + r.IntN(2) {
			at := 1 + r.IntN(len(text)-1)
			switch c := "{}[]:,\"\\ 1a\t\x01"[r.IntN(13)]; r.IntN(3) {
			case 0:
				text[at] = c
			case 1:
				text = append(text[:at], text[at+1:]...)
			default:
				text = append(text[:at], append([]byte{c}, text[at:]...)...)
			}
		}
		valid := json.Valid(text)
		if wholeOf(t, string(text), 0) && !valid {
			t.Fatalf("%s is not valid", text)
		} else if !valid {
			found++
		}
		if rest := "," + string(text[1:]); wholeOf(t, rest, 1) && !json.Valid([]byte(`{"z":1`+rest)) {
			t.Fatalf("%s is not valid", rest)
		}
	}
	if found < 10_000 {
		t.Errorf("only %d texts were malformed", found)
	}
}

// FuzzIsWhole looks for malformed texts that isWhole accepts.
func FuzzIsWhole(f *testing.F) {
	f.Add(`{"a":[1,"b"],"c":{"d":null},"e":"f\u0041"}`)
	f.Add(`{"a":"b","c":{"d":"e","f":{"g":"h"}},"i":"j"}`)
	f.Fuzz(func(t *testing.T, text string) {
		if strings.HasPrefix(text, "{") && !strings.Contains(text, "\n") && wholeOf(t, text, 0) && !json.Valid([]byte(text)) {
			t.Errorf("%q is not valid", text)
		}
	})
}
