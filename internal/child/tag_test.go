package child

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/layshaft/layshaft/internal/job"
)

// Each line of a child's output belongs to the attempts that ran at its place, or to the attempt
// whose goroutine logged it.
func TestUntagger(t *testing.T) {
	var pipe bytes.Buffer
	s := &server{tags: &pipe}
	a, b := job.Attempt{Task: job.Task{Index: 1}, N: 1}, job.Attempt{Task: job.Task{Stage: 2}, N: 3}
	fmt.Fprintln(&pipe, "start")
	s.tag(tagBegins, a)
	fmt.Fprintln(&pipe, "alone")
	fmt.Fprint(&pipe, "no end of line")
	s.tag(tagBegins, b)
	fmt.Fprintln(&pipe, "one of two")
	fmt.Fprintln(&pipe, "")
	fmt.Fprint(&pipe, "half, ")
	fmt.Fprintln(&pipe, "\x1e=2/0#3\x1elogged")
	fmt.Fprintln(&pipe, "\x1eno tag\x1e")
	s.tag(tagEnds, a)
	fmt.Fprintln(&pipe, "the other")
	s.tag(tagEnds, b)
	fmt.Fprintln(&pipe, "after")
	var u Untagger
	var got []string
	for line := range strings.Lines(pipe.String()) {
		u.Line([]byte(strings.TrimSuffix(line, "\n")), func(w Written) { got = append(got, fmt.Sprintf("%s %q", strings.Join(w.Attempts, ","), w.Text)) })
	}
	want := []string{` "start"`, `0/1#1 "alone"`, `0/1#1 "no end of line"`, `0/1#1,2/0#3 "one of two"`, `0/1#1,2/0#3 ""`, `0/1#1,2/0#3 "half, "`, `2/0#3 "logged"`,
		`0/1#1,2/0#3 "\x1eno tag\x1e"`, `2/0#3 "the other"`, ` "after"`}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if text := Untag(pipe.String()); strings.Contains(text, "#1") || !strings.Contains(text, "no end of lineone of two\n") {
		t.Errorf("untagged: %q", text)
	}
}

// A process without the setting of the worker, or a goroutine of no attempt, writes no tags.
func TestTaggerWithoutAttempt(t *testing.T) {
	var b bytes.Buffer
	if n, err := (tagger{&b}).Write([]byte("x\ny\n")); n != 4 || err != nil || b.String() != "x\ny\n" {
		t.Errorf("%d, %v, %q", n, err, b.String())
	}
}

// What user code writes does not make the list of running attempts grow.
func TestUntaggerIsLimited(t *testing.T) {
	var u Untagger
	for i := range 2 * maxRunning {
		u.Line(fmt.Appendf(nil, "\x1e+0/%d#1\x1e", i), func(Written) {})
		u.Line([]byte("\x1e+0/0#1\x1e"), func(Written) {})
	}
	if n := len(u.running); n != maxRunning {
		t.Errorf("%d running attempts", n)
	}
	u.Line([]byte("\x1e=0/"+strings.Repeat("1", 100)+"#1\x1e"), func(w Written) {
		if len(w.Attempts) != maxRunning {
			t.Errorf("attempts %.200v", w.Attempts)
		}
	})
}
