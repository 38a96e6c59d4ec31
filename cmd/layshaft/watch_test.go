package main

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"
)

// steps is a writer that passes each text to a function.
type steps func(text string)

// Write passes on p.
func (s steps) Write(p []byte) (int, error) {
	s(string(p))
	return len(p), nil
}

// TestWatch changes files after each result: a changed, a new, a removed and a half-written one.
func TestWatch(t *testing.T) {
	t.Chdir(t.TempDir())
	write := func(name, content string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("a.jsonl", `{"k":"x","n":1}`+"\n")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var results, lines []string
	next := []func(){
		func() { write("a.jsonl", `{"k":"x","n":1}`+"\n"+`{"k":"x","n":2}`+"\n") },
		func() { write("b.jsonl", `{"k":"y","n":5}`+"\n") },
		func() { write("b.jsonl", `{"k":"y","n":5}`+"\n"+`{"k":"y","n":`) },
		func() { write("b.jsonl", `{"k":"y","n":5}`+"\n"+`{"k":"y","n":6}`+"\n") },
		func() {
			if err := os.Remove("a.jsonl"); err != nil {
				t.Fatal(err)
			}
		},
		cancel,
	}
	c := &reportCmd{Output: "jsonl", State: t.TempDir(), Watch: true, Progress: "none"}
	w := &watcher{c: c, text: "SELECT k, sum(n) AS n FROM '*.jsonl' GROUP BY k ORDER BY k", every: 10 * time.Millisecond,
		out: steps(func(text string) { results = append(results, text) }),
		err: steps(func(text string) {
			_, line, _ := strings.Cut(strings.TrimSpace(text), "  ")
			lines = append(lines, line)
			next[0]()
			next = next[1:]
		})}
	if err := w.run(ctx); err != nil {
		t.Fatal(err)
	}
	want := []string{
		`{"k": "x", "n": 1}` + "\n", `{"k": "x", "n": 3}` + "\n", `{"k": "x", "n": 3}` + "\n" + `{"k": "y", "n": 5}` + "\n",
		`{"k": "x", "n": 3}` + "\n" + `{"k": "y", "n": 11}` + "\n", `{"k": "y", "n": 11}` + "\n",
	}
	if strings.Join(results, "-") != strings.Join(want, "-") {
		t.Errorf("results %q\nwant %q", results, want)
	}
	for i, want := range []string{"first result, ", "changed: a.jsonl, ", "new: b.jsonl, ", "no new result: ", "", "removed: a.jsonl, "} {
		if i >= len(lines) || !strings.HasPrefix(lines[i], want) {
			t.Errorf("line %d of %q, want %q", i, lines, want)
		}
	}
}

// TestWatchRefuses checks errors of the statement, and statements without files.
func TestWatchRefuses(t *testing.T) {
	for text, want := range map[string]string{"SELECT 1": "-watch needs files", "SELECT": "expected"} {
		w := &watcher{c: &reportCmd{Output: "csv", State: t.TempDir(), Watch: true, Progress: "none"}, text: text, out: new(strings.Builder), err: new(strings.Builder)}
		if err := w.run(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

// TestWatchDraws draws tables in place, also in a low and narrow terminal.
func TestWatchDraws(t *testing.T) {
	var out strings.Builder
	height := 24
	w := &watcher{c: &reportCmd{Output: "table"}, out: &out, size: func() (int, int, error) { return 30, height, nil }}
	w.table = []byte("a │ b\n──┼──\n1 │ 2\n(1 row)\n")
	w.show("first result")
	if got := out.String(); !strings.HasPrefix(got, string(w.table)) || strings.Contains(got, "\x1b") || w.lines != 5 {
		t.Errorf("%q, %d lines", got, w.lines)
	}
	out.Reset()
	height = 6
	w.table = []byte(strings.Repeat("row\n", 20) + "(20 rows)\n")
	w.show("changed: a-file-with-a-long-name.jsonl")
	got := out.String()
	if !strings.HasPrefix(got, "\x1b[5A\x1b[Jrow\nrow\n… 18 more\n(20 rows)\n") || w.lines != 5 || !strings.HasSuffix(got, "…\n") {
		t.Errorf("%q, %d lines", got, w.lines)
	}
}
