package mapreduce

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/layshaft/layshaft/internal/child"
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/record"
	"github.com/layshaft/layshaft/mapreduce/connector"
)

// The test binary is the child, too.
func TestMain(m *testing.M) {
	Main()
	os.Exit(m.Run())
}

// upTo is a source of the numbers below it.
type upTo int

func (n upTo) String() string { return "upTo(" + strconv.Itoa(int(n)) + ")" }

func (n upTo) Splits(context.Context, int64) ([]connector.Split, error) {
	return []connector.Split{{Label: "all"}}, nil
}

func (n upTo) Read(_ context.Context, _ connector.Split, r *connector.Reader[int]) error {
	for i := range int(n) {
		r.Emit(&i)
	}
	r.Add(int64(n), int64(n))
	return nil
}

type childParams struct {
	N      int
	Stages bool // another plan in another process
	Label  string
}

var childPipeline = Define("test-child", func(p *Plan, in childParams) Dataset[KV[string, int64]] {
	numbers := Read(p, upTo(in.N))
	if in.Stages && inChild {
		numbers = Distinct(numbers)
	}
	if in.Label != "" && inChild {
		in.Label = "another"
	}
	return CountBy(numbers, func(i int) string { return strconv.Itoa(i % 10) }, Parallel(1), Named(in.Label))
})

var (
	inChild = os.Getenv(child.Env) != ""

	_ = Define("test-twice", func(p *Plan, _ None) Dataset[None] { return Nothing(p) })
	_ = Define("test-twice", func(p *Plan, _ None) Dataset[None] { return Nothing(p) })
)

// startChild starts this test as a child process, as a worker does.
func startChild(t *testing.T) *child.Conn {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	ln, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "-test.run=^$")
	cmd.Env = append(os.Environ(), child.Env+"="+child.Address("token", socket))
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := ln.(*net.UnixListener).SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	nc, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(nc, make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	c, err := child.NewConn(nc)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(c.Close(), cmd.Wait()); err != nil { // it ends with its connection
			t.Error(err)
		}
	})
	return c
}

func childSpec(t *testing.T, in childParams) *job.Spec {
	t.Helper()
	raw, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	c, err := childPipeline.untyped.plan(t.Context(), raw, childPipeline.untyped.gather)
	if err != nil {
		t.Fatal(err)
	}
	c.addTiers(func(int, *stage, *stage) int { return 2 }, true)
	splits := map[*stage][]job.Split{c.stages[0]: {{Label: "all"}}}
	return c.spec("test-child", strings.Repeat("0", 64), raw, splits, settings{Local: Local{Memory: 8 << 20, Slots: 1, Workers: 1}, zones: 1})
}

// blocks is the output of one attempt, and the input of the next.
type blocks struct {
	all  [][]byte
	next int
}

func (b *blocks) Append(port, _, _ int, block []byte, _ int, _ []byte) error {
	if port == 0 {
		b.all = append(b.all, bytes.Clone(block))
	}
	return nil
}

func (b *blocks) Next() ([]byte, error) {
	if b.next == len(b.all) {
		return nil, io.EOF
	}
	b.next++
	return b.all[b.next-1], nil
}

func (b *blocks) Records() int64 { return 0 }
func (b *blocks) Bytes() int64   { return 0 }
func (b *blocks) Close() error   { return nil }

// A child process finds the pipeline by its name, builds it from the parameters and runs its
// stages: map, two that combine, reduce.
func TestChildRuns(t *testing.T) {
	conn := startChild(t)
	spec := childSpec(t, childParams{N: 1005})
	if err := conn.Load(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	var made *blocks
	for stage := range spec.Stages {
		out := &blocks{}
		run := &job.Run{Attempt: job.Attempt{Job: spec.ID, Task: job.Task{Stage: stage}, N: 1}, Tasks: 1, Output: out, Memory: 8 << 20, Counters: map[string]int64{}}
		switch {
		case stage == 0:
			run.Split = &spec.Stages[0].Splits[0]
		case spec.Stages[stage].Combine:
			run.OpenPartition = func(int) ([]job.RunReader, error) { return []job.RunReader{made}, nil }
		default:
			run.Inputs = [][]job.RunReader{{made}}
		}
		if err := conn.Run(t.Context(), child.Call{Run: run, Slot: stage, Scratch: t.TempDir(), Grace: time.Minute}); err != nil {
			t.Fatalf("stage %d: %v", stage, err)
		}
		if stage == 0 && run.Counters[readCounter] != 1005 {
			t.Errorf("counters %v", run.Counters)
		}
		made = out
	}
	codec, err := record.For[KV[string, int64]]()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int64{}
	if _, err := values(made, func(v []byte) (bool, error) {
		var row KV[string, int64]
		_, err := codec.Decode(v, &row)
		got[row.Key] += row.Value
		return true, err
	}); err != nil {
		t.Fatal(err)
	}
	if len(got) != 10 || got["4"] != 101 || got["5"] != 100 {
		t.Errorf("rows %v", got)
	}
}

func TestChildRefuses(t *testing.T) {
	for name, tt := range map[string]struct {
		spec *job.Spec
		want string
	}{
		"unknown":      {&job.Spec{Name: "nobody"}, `defines no pipeline "nobody" before its call of mapreduce.Main`},
		"ambiguous":    {&job.Spec{Name: "test-twice"}, "several pipelines named \"test-twice\" (child_test.go:"},
		"parameters":   {&job.Spec{Name: "test-child", Params: []byte("[]")}, "do not come back from JSON"},
		"stages":       {childSpec(t, childParams{N: 1, Stages: true}), "must depend on its parameters alone"},
		"other labels": {childSpec(t, childParams{N: 1, Label: "mine"}), `"combine another"`},
	} {
		t.Run(name, func(t *testing.T) {
			var f *job.Failure
			if err := startChild(t).Load(t.Context(), tt.spec); !errors.As(err, &f) || f.Kind != job.Fatal || !strings.Contains(f.Message, tt.want) {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
}
