package sql

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync/atomic"
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

// watch panics when a statement takes over a second, unless stop is called before. It counts short
// ticks, so a machine that stands still does not make the statement slow.
func watch(text string) (stop func()) {
	var stopped atomic.Bool
	left := 20
	var tick *time.Timer
	start := make(chan struct{})
	tick = time.AfterFunc(50*time.Millisecond, func() {
		<-start
		if left--; stopped.Load() {
			return
		}
		if left == 0 {
			panic("a statement takes over a second: " + text)
		}
		tick.Reset(50 * time.Millisecond)
	})
	close(start)
	return func() {
		stopped.Store(true)
		tick.Stop()
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range statements(f) {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		defer watch(text)()
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

func TestParseExprList(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"category, lower(brand) AS b", "category; lower(brand) AS b"},
		{"count, sum(price*stock) total, p95(price)", "count; sum(price * stock) AS total; p95(price)"},
		{"a, b,", "line 1, column 5: unexpected comma before end of statement (remove the comma)"},
		{"*", "line 1, column 1: unexpected *; it stands only as an item of a SELECT list and in count(*) (name the columns)"},
		{"a b c", `line 1, column 5: unexpected "c"; expected a comma, an operator or a clause (is a comma missing before it?)`},
		{"a FROM t", "line 1, column 3: unexpected FROM here (only expressions may stand here)"},
		{"", "line 1, column 1: unexpected end of statement; expected an expression"},
	} {
		items, err := ParseExprList(c.text)
		var out []string
		for _, it := range items {
			out = append(out, Format(it))
		}
		got := strings.Join(out, "; ")
		if err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%q: %s, want %s", c.text, got, c.want)
		}
	}
}

func TestParseExpr(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"stock > 0 AND rating >= 4;", "stock > 0 AND rating >= 4"},
		{"stock > 0, a", "line 1, column 10: unexpected comma; expected an operator or the end"},
		{"stock > 0 WHERE", "line 1, column 11: unexpected WHERE here (only expressions may stand here)"},
		{"WHERE stock > 0", "line 1, column 1: unexpected WHERE; expected an expression (write the condition without WHERE)"},
	} {
		x, err := ParseExpr(c.text)
		got := ""
		if err != nil {
			got = err.Error()
		} else {
			got = Format(x)
		}
		if got != c.want {
			t.Errorf("%q: %s, want %s", c.text, got, c.want)
		}
	}
}

// Walk visits every node once, parents first, and stays out of what visit refuses.
func TestWalk(t *testing.T) {
	s, err := Parse("SELECT sum(a) FILTER (WHERE b) OVER (PARTITION BY c), (SELECT d FROM t) FROM u JOIN v ON e = f WHERE g IN (1, h)")
	if err != nil {
		t.Fatal(err)
	}
	columns := func(stop func(Node) bool) string {
		var names []string
		Walk(s, func(n Node) bool {
			if c, ok := n.(*Column); ok {
				names = append(names, c.Parts[0].Name)
			}
			return !stop(n)
		})
		return strings.Join(names, " ")
	}
	if got, want := columns(func(Node) bool { return false }), "a b c d e f g h"; got != want {
		t.Errorf("columns %s, want %s", got, want)
	}
	if got, want := columns(is(func(*Scalar) bool { return true })), "a b c e f g h"; got != want {
		t.Errorf("columns outside subqueries %s, want %s", got, want)
	}
	for _, text := range statements(t) {
		s, err := Parse(text)
		if err != nil {
			continue
		}
		seen := map[Node]bool{}
		Walk(s, func(n Node) bool {
			if seen[n] {
				t.Errorf("%s: %T is visited twice", text, n)
			}
			seen[n] = true
			return true
		})
		if n := count(reflect.ValueOf(s)); n != len(seen) {
			t.Errorf("%s: Walk visits %d of %d nodes", text, len(seen), n)
		}
	}
}

// count returns how many nodes there are below v, found by reflection: pointers to structs with a
// place, but for those that Walk leaves out.
func count(v reflect.Value) (n int) {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return 0
		}
		switch x := v.Interface().(type) {
		case *Ident, *Alias, *Type, *TypeField:
			return 0
		case Node:
			if v.Kind() == reflect.Pointer {
				n = 1
			}
			_ = x
		}
		return n + count(v.Elem())
	case reflect.Slice:
		for i := range v.Len() {
			n += count(v.Index(i))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			n += count(v.Field(i))
		}
	}
	return n
}
