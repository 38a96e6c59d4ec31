package plain_test

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/layshaft/layshaft/internal/plain"
)

func TestText(t *testing.T) {
	for _, c := range []struct{ in, text, word string }{
		{"", "", ""},
		{"resize", "resize", "resize"},
		{`App\Jobs\Resize`, `App\Jobs\Resize`, `App\Jobs\Resize`},
		{"Größe 日本", "Größe 日本", `Größe\x20日本`},
		{"caf\xe9", `caf\xe9`, `caf\xe9`},
		{"\x1b[31mred", `\x1b[31mred`, `\x1b[31mred`},
		{"a\nb\tc\r", `a\x0ab\x09c\x0d`, `a\x0ab\x09c\x0d`},
		{"a\x00b\x7f", `a\x00b\x7f`, `a\x00b\x7f`},
		{"\u009b31m", `\xc2\x9b31m`, `\xc2\x9b31m`},                     // a control character of ISO 8859
		{"\u202egnp.exe", `\xe2\x80\xaegnp.exe`, `\xe2\x80\xaegnp.exe`}, // from right to left
		{"\u2028", `\xe2\x80\xa8`, `\xe2\x80\xa8`},
	} {
		if got := plain.Text(c.in); got != c.text {
			t.Errorf("Text(%q) = %s, want %s", c.in, got, c.text)
		}
		if got := plain.Word(c.in); got != c.word {
			t.Errorf("Word(%q) = %s, want %s", c.in, got, c.word)
		}
	}
	if got, want := plain.Lines("a\n\tb\x1b\r"), "a\n\tb"+`\x1b\x0d`; got != want {
		t.Errorf("Lines = %q, want %q", got, want)
	}
}

func TestJSON(t *testing.T) {
	type inner struct {
		Name string         `json:"name"`
		By   map[string]int `json:"by,omitempty"`
		Body []byte         `json:"body,omitempty"`
	}
	in := struct {
		All  []inner `json:"all"`
		One  *inner  `json:"one"`
		Any  any     `json:"any"`
		None *inner  `json:"none"`
	}{[]inner{{Name: "ok"}, {Name: "caf\xe9", By: map[string]int{"n\xff": 1}, Body: []byte{0xff}}}, &inner{Name: "\xfe"}, inner{Name: "\xfd"}, nil}
	b, err := json.Marshal(plain.JSON(in))
	const want = `{"all":[{"name":"ok"},{"name":"caf\\xe9","by":{"n\\xff":1},"body":"/w=="}],"one":{"name":"\\xfe"},"any":{"name":"\\xfd"},"none":null}`
	if err != nil || string(b) != want {
		t.Errorf("JSON: %s, %v\nwant %s", b, err, want)
	}
	if in.All[1].Name != "caf\xe9" || in.One.Name != "\xfe" {
		t.Errorf("JSON has changed its argument: %+v", in)
	}
}

func TestBytes(t *testing.T) {
	for in, want := range map[string]string{
		"resize": "resize", `caf\xe9`: "caf\xe9", `a\x20b\x0ac`: "a b\nc", `a b\x0ac`: "a b\nc",
		`App\xylophone`: `App\xylophone`, `\x41`: `\x41`, `\xE9`: `\xE9`, `\x`: `\x`, `\x1b\x41`: `\x1b\x41`,
	} {
		if got := plain.Bytes(in); got != want {
			t.Errorf("Bytes(%s) = %q, want %q", in, got, want)
		}
	}
}

func FuzzText(f *testing.F) {
	for _, s := range []string{"resize", "caf\xe9", "\x1b[2J", `\x1b`, `\\x1b`, "\u202e"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for name, escape := range map[string]func(string) string{"Text": plain.Text, "Word": plain.Word, "Lines": plain.Lines} {
			text := escape(s)
			if !utf8.ValidString(text) || escape(text) != text {
				t.Errorf("%s(%q) = %q: not UTF-8, or changed when escaped twice", name, s, text)
			}
			for _, r := range text {
				if unicode.IsControl(r) && (name != "Lines" || r != '\n' && r != '\t') {
					t.Errorf("%s(%q) = %q has control character %U", name, s, text, r)
				}
			}
			if got := plain.Bytes(text); name != "Lines" && !strings.Contains(s, `\x`) && got != s {
				t.Errorf("Bytes(%q) = %q, want %q", text, got, s)
			}
		}
	})
}

func TestCut(t *testing.T) {
	for _, c := range []struct {
		text string
		n    int
		want string
	}{{"abc", 3, "abc"}, {"abcd", 3, "ab…"}, {"日本語", 6, "日本語"}, {"日本語", 5, "日本…"}, {"e\u0301e\u0301", 2, "e\u0301e\u0301"}, {"abc", 0, "…"}} {
		got, width := plain.Cut(c.text, c.n)
		if got != c.want || width != plain.Width(got) {
			t.Errorf("Cut(%q, %d) = %q of width %d, want %q of width %d", c.text, c.n, got, width, c.want, plain.Width(c.want))
		}
	}
}

// Encoded JSON has no character that a terminal obeys, and the value stays the same.
func TestEncodedJSON(t *testing.T) {
	text := "caf\u00e9 \u009b31m \u202e \x7f \x1b \U000e0001 \U0001f600 \n"
	b, err := json.Marshal(text)
	if err != nil {
		t.Fatal(err)
	}
	got := plain.EncodedJSON(b)
	if plain.Text(string(got)) != string(got) {
		t.Errorf("%q has unprintable characters", got)
	}
	var back string
	if err := json.Unmarshal(got, &back); err != nil || back != text {
		t.Errorf("%s is %q, %v; want %q", got, back, err, text)
	}
	if same := []byte(`{"a":"é"}`); &plain.EncodedJSON(same)[0] != &same[0] {
		t.Error("plain JSON was copied")
	}
}
