package sql

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite the answers in testdata/*.txt")

// statements returns the statements of the scripts: blocks of text before a line of four dashes.
func statements(t testing.TB) (out []string) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		for _, c := range readScript(t, file) {
			out = append(out, c.statement)
		}
	}
	return out
}

type testCase struct{ comment, statement, answer string }

// readScript reads a script: comments, a statement, ----, the answer, an empty line, and so on.
func readScript(t testing.TB, file string) (cases []testCase) {
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for block := range strings.SplitSeq(strings.TrimSpace(string(b)), "\n\n") {
		var c testCase
		for strings.HasPrefix(block, "#") {
			line, rest, _ := strings.Cut(block, "\n")
			c.comment += line + "\n"
			block = rest
		}
		c.statement, c.answer, _ = strings.Cut(block+"\n", "\n----\n")
		c.statement = strings.TrimSuffix(c.statement, "\n")
		cases = append(cases, c)
	}
	return cases
}

// answer returns the canonical form of a statement, or its error as users see it.
func answer(statement string) string {
	s, err := Parse(statement)
	var e *Error
	if errors.As(err, &e) {
		return e.Render()
	}
	return Format(s) + "\n"
}

func TestScripts(t *testing.T) {
	files, _ := filepath.Glob("testdata/*.txt")
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			var b strings.Builder
			for _, c := range readScript(t, file) {
				got := answer(c.statement)
				if got != c.answer && !*update {
					t.Errorf("%s\ngot:\n%swant:\n%s", c.statement, got, c.answer)
				}
				b.WriteString(c.comment + c.statement + "\n----\n" + got + "\n")
			}
			if *update {
				if err := os.WriteFile(file, []byte(strings.TrimSuffix(b.String(), "\n")), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// clear sets every offset below v to zero.
func clear(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			clear(v.Elem())
		}
	case reflect.Slice:
		for i := range v.Len() {
			clear(v.Index(i))
		}
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[Pos]() {
			v.SetZero()
			return
		}
		for i := range v.NumField() {
			clear(v.Field(i))
		}
	}
}

// checkRoundTrip checks that Parse(Format(x)) is x, that Format is stable, and that all offsets lie
// in the text.
func checkRoundTrip(t testing.TB, text string, s Statement) {
	Walk(s, func(n Node) bool {
		if n.At() < 0 || n.At() >= len(text) {
			t.Errorf("%T at offset %d of %d", n, n.At(), len(text))
		}
		return true
	})
	canonical := Format(s)
	again, err := Parse(canonical)
	if err != nil {
		if strings.Contains(err.Error(), "nested too deep") {
			return // the canonical form may need some more parentheses
		}
		t.Fatalf("%q\nis written as %q\nwhich does not parse: %v", text, canonical, err)
	}
	if second := Format(again); second != canonical {
		t.Fatalf("%q\nis written as %q\nand that as     %q", text, canonical, second)
	}
	clear(reflect.ValueOf(s))
	clear(reflect.ValueOf(again))
	if !reflect.DeepEqual(s, again) {
		t.Fatalf("%q\nis written as %q, which is another tree", text, canonical)
	}
}

func TestRoundTrip(t *testing.T) {
	for _, text := range statements(t) {
		if s, err := Parse(text); err == nil {
			checkRoundTrip(t, text, s)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range statements(f) {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		watchdog := time.AfterFunc(time.Second, func() { panic("a statement takes over a second: " + text) })
		defer watchdog.Stop()
		s, err := Parse(text)
		if err != nil {
			checkError(t, text, err)
			return
		}
		checkRoundTrip(t, text, s)
	})
}

// checkError checks that an error is one line, lies in the text and can be shown.
func checkError(t testing.TB, text string, err error) {
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("%q: error %T: %v", text, err, err)
	}
	if e.Offset < 0 || e.Offset > len(text) || e.Message == "" || strings.ContainsAny(e.Error(), "\n\r\t") {
		t.Fatalf("%q: offset %d of %d, error %q", text, e.Offset, len(text), e)
	}
	lines := strings.Split(e.Render(), "\n")
	if len(lines) < 4 || len(lines) > 5 || strings.TrimSpace(lines[2]) != "^" {
		t.Fatalf("%q: shown as %q", text, e.Render())
	}
}
