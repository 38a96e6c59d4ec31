package compare

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestSpreadOf(t *testing.T) {
	tests := []struct {
		figures []float64
		want    Spread
	}{
		{[]float64{3}, Spread{3, 3, 3}},
		{[]float64{9, 1, 2}, Spread{1, 2, 9}},
		{[]float64{4, 1, 3, 10}, Spread{1, 3.5, 10}},
		{[]float64{5, 5, 1, 1, 2}, Spread{1, 2, 5}},
	}
	for _, test := range tests {
		if got := SpreadOf(slices.Clone(test.figures)); got != test.want {
			t.Errorf("%v: %v, want %v", test.figures, got, test.want)
		}
	}
}

func walls(name string, seconds ...float64) Result {
	r := Result{Name: name}
	for _, s := range seconds {
		r.Runs = append(r.Runs, Run{Wall: time.Duration(s * 1e9), CPU: time.Duration(s * 2e9), RSS: 3 << 20})
	}
	return r
}

// A ratio is taken within a round: here the medians of the walls are equal and say nothing.
func TestRatiosAreWithinRounds(t *testing.T) {
	got := Ratios(walls("a", 1, 8, 2), walls("base", 2, 2, 8))
	if want := (Spread{0.25, 0.5, 4}); got != want {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestMarkdown(t *testing.T) {
	a, b := walls("base", 1, 2, 4), walls("other", 0.5, 0.5, 0.25)
	b.Runs[0].First, b.Runs[1].First, b.Runs[2].First = 30*time.Millisecond, 20*time.Millisecond, 40*time.Millisecond
	var s strings.Builder
	if err := Markdown(&s, []Result{a, b}, "base", "absent"); err != nil {
		t.Fatal(err)
	}
	want := `
|       | wall, s             | CPU, s           | peak RSS, MiB | first record, s     | wall / base      |
| ---   | ---:                | ---:             | ---:          | ---:                | ---:             |
| base  | 2.00 (1.00–4.00)    | 4.00 (2.00–8.00) | 3 (3–3)       |                     | 1.00 (1.00–1.00) |
| other | 0.500 (0.250–0.500) | 1.00 (0.50–1.00) | 3 (3–3)       | 0.030 (0.020–0.040) | 0.25 (0.06–0.50) |
`
	if got := "\n" + s.String(); got != want {
		t.Errorf("got%s\nwant%s", got, want)
	}
}

func TestSums(t *testing.T) {
	base := map[string]string{"part-0": "a\nb\n", "part-1": "c\n", "manifest.json": "{}", ".tmp": "x", ".d/x": "x"}
	tests := []struct {
		name              string
		files             map[string]string
		anyOrder, inOrder bool // same as base
	}{
		{"itself", base, true, true},
		{"cut elsewhere", map[string]string{"part-0": "a\n", "part-1": "b\nc\n"}, true, true},
		{"in folders", map[string]string{"1/x": "a\n", "2/x": "b\nc\n"}, true, true},
		{"no line feed at the end", map[string]string{"x": "a\nb\nc"}, true, true},
		{"no line feed between", map[string]string{"1": "a\nb", "2": "c"}, true, true},
		{"other order of lines", map[string]string{"x": "b\na\nc\n"}, true, false},
		{"other order of files", map[string]string{"1": "c\n", "2": "a\nb\n"}, true, false},
		{"a line twice", map[string]string{"x": "a\na\nb\nc\n"}, false, false},
		{"a line three times", map[string]string{"x": "a\na\na\nb\nc\n"}, false, false},
		{"a line less", map[string]string{"x": "a\nb\n"}, false, false},
		{"an empty line more", map[string]string{"x": "a\nb\nc\n\n"}, false, false},
		{"a carriage return", map[string]string{"x": "a\r\nb\nc\n"}, false, false},
		{"no lines", map[string]string{"x": ""}, false, false},
	}
	of := func(o Output, files map[string]string) Sum {
		t.Helper()
		dir := t.TempDir()
		for name, content := range files {
			path := filepath.Join(dir, name)
			if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o644)); err != nil {
				t.Fatal(err)
			}
		}
		s, err := o.sum(dir)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	for _, test := range tests {
		if got := of(AnyOrder, test.files) == of(AnyOrder, base); got != test.anyOrder {
			t.Errorf("%s, any order: same is %t", test.name, got)
		}
		if got := of(InOrder, test.files) == of(InOrder, base); got != test.inOrder {
			t.Errorf("%s, in order: same is %t", test.name, got)
		}
	}
	if _, err := AnyOrder.sum(filepath.Join(t.TempDir(), "absent")); err == nil {
		t.Error("no error for an output that is not there")
	}
	long := filepath.Join(t.TempDir(), "long")
	if err := os.WriteFile(long, make([]byte, longestLine+1), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := AnyOrder.sum(long); err == nil {
		t.Error("no error for a line that is too long")
	}
}

// sh makes a command of a shell script.
func sh(t *testing.T, name, script string) Command {
	t.Helper()
	if _, err := exec.LookPath("sh"); err != nil {
		t.Skip("no shell: ", err)
	}
	return Command{Name: name, Args: []string{"sh", "-c", script}}
}

func TestMeasure(t *testing.T) {
	dir, log := t.TempDir(), filepath.Join(t.TempDir(), "log")
	// Both leave a file in each of their places; the next run must not see it.
	a := sh(t, "a", `echo a >>`+log+`; test ! -e {out} && echo x >{out} && test -z "$(ls {tmp})" && echo >{tmp}/x`)
	b := sh(t, "b", `echo b >>`+log+`; mkdir {out} && echo x >{out}/part-0 && test -z "$(ls {tmp})" && test "$TMPDIR" = {tmp} && echo >{tmp}/x
		test "$LAYSHAFT_BENCH_FIRST" = 1 && echo "hello
trace: first record at $(date +%s%N)" >&2; sleep 0.01`)
	var logged []string
	results, err := Measure(t.Context(), Config{Rounds: 2, Warmup: 1, Dir: dir, Log: func(s string) { logged = append(logged, s) }}, []Command{a, b})
	if err != nil {
		t.Fatal(err)
	}
	if order, _ := os.ReadFile(log); string(order) != "a\nb\na\nb\na\nb\n" {
		t.Errorf("order of runs %q", order)
	}
	if len(logged) != 3 || !strings.HasPrefix(logged[2], "round 3 of 3: a 0.") {
		t.Errorf("log %q", logged)
	}
	for i, name := range []string{"a", "b"} {
		r := results[i]
		if r.Name != name || len(r.Runs) != 2 {
			t.Fatalf("%d runs of %s, want 2 of %s", len(r.Runs), r.Name, name)
		}
		for _, run := range r.Runs {
			if run.Wall <= 0 || run.Wall > time.Minute || run.CPU < 0 || run.RSS < 0 {
				t.Errorf("%s: unlikely figures %+v", name, run)
			}
			if traced := run.First > 0 && run.First < run.Wall; traced != (name == "b") {
				t.Errorf("%s: first record after %v of %v", name, run.First, run.Wall)
			}
		}
	}
	if b := results[1].Runs[0]; b.Wall < 10*time.Millisecond {
		t.Errorf("b took %v, and slept for 10ms", b.Wall)
	}
	empty(t, dir)
}

func TestMeasureRefuses(t *testing.T) {
	good := sh(t, "good", "echo x >{out}")
	tests := []struct {
		name     string
		config   Config
		commands []Command
		want     string // a regular expression of the error
	}{
		{"no rounds", Config{}, []Command{good}, "0 rounds"},
		{"no commands", Config{Rounds: 1}, nil, "no commands"},
		{"a command without output", Config{Rounds: 1}, []Command{sh(t, "mute", "true")}, `mute: .*\{out\}`},
		{"a command that fails", Config{Rounds: 1}, []Command{good, sh(t, "bad", "echo the reason >&2; exit 3; {out}")}, "bad: exit status 3: the reason$"},
		{"a command that is not there", Config{Rounds: 1}, []Command{{Name: "gone", Args: []string{"/no/such/program", "{out}"}}}, "gone: .*no/such/program"},
		{"no output", Config{Rounds: 1}, []Command{sh(t, "lazy", "true {out}")}, "lazy: output: .*no such file"},
		{"empty output", Config{Rounds: 1}, []Command{sh(t, "idle", "true >{out}")}, "idle: output: empty"},
		{"a wrong line of trace", Config{Rounds: 1}, []Command{sh(t, "odd", "echo x >{out}; echo trace: first record at noon >&2")}, `odd: line "trace: first record at noon"`},
	}
	for _, test := range tests {
		test.config.Dir = t.TempDir()
		_, err := Measure(t.Context(), test.config, test.commands)
		if err == nil || !regexp.MustCompile(test.want).MatchString(err.Error()) {
			t.Errorf("%s: error %v, want %s", test.name, err, test.want)
		}
		empty(t, test.config.Dir)
	}
}

// The counts of lines and bytes agree; the lines do not. It happens in a later round, too.
func TestMeasureFindsWrongOutputs(t *testing.T) {
	good := sh(t, "good", "printf '1\n2\n3\n' >{out}")
	later := filepath.Join(t.TempDir(), "later")
	for name, bad := range map[string]string{
		"at once": "printf '3\n2\n2\n' >{out}",
		"later":   "test -e " + later + " && printf '3\n2\n2\n' >{out} || printf '3\n2\n1\n' >{out}; echo >" + later,
	} {
		_, err := Measure(t.Context(), Config{Rounds: 2, Dir: t.TempDir()}, []Command{good, sh(t, "bad", bad)})
		if !errors.Is(err, ErrDiffers) {
			t.Errorf("%s: error %v, want ErrDiffers", name, err)
			continue
		}
		kept := regexp.MustCompile(`(?m) in (.*)$`).FindAllStringSubmatch(err.Error(), -1)
		if len(kept) != 2 {
			t.Errorf("%s: the error names %d outputs, want 2: %v", name, len(kept), err)
		}
		for _, k := range kept {
			if b, err := os.ReadFile(k[1]); err != nil || len(b) != 6 {
				t.Errorf("%s: the output was not kept: %q, %v", name, b, err)
			}
		}
	}
	results, err := Measure(t.Context(), Config{Rounds: 1, Output: Ignored}, []Command{good, sh(t, "bad", "true")})
	if err != nil || len(results) != 2 {
		t.Errorf("outputs ignored: %d results, %v", len(results), err)
	}
}

func TestMeasureEndsWithItsContext(t *testing.T) {
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	rounds := 0
	log := func(string) {
		if rounds++; rounds == 2 {
			cancel(cause)
		}
	}
	dir := t.TempDir()
	_, err := Measure(ctx, Config{Rounds: 1000, Dir: dir, Log: log}, []Command{sh(t, "quick", "echo x >{out}")})
	if !errors.Is(err, cause) || rounds != 2 {
		t.Errorf("error %v after %d rounds, want %v after 2", err, rounds, cause)
	}
	empty(t, dir)
}

func empty(t *testing.T, dir string) {
	t.Helper()
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("%s was left behind", left[0].Name())
	}
}
