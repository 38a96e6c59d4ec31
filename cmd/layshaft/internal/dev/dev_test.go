package dev

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestMain makes the test program one of the processes when it is asked to be.
func TestMain(m *testing.M) {
	if len(os.Args) < 3 || os.Args[1] != "process" {
		os.Exit(m.Run())
	}
	fmt.Println(os.Args[2], "starts", os.Getenv("LAYSHAFT_DATA")+os.Getenv("LAYSHAFT_S3_ENDPOINT")+os.Getenv("LAYSHAFT_PG_SHOP"))
	if os.Args[2] == "shouts" {
		fmt.Print("\x1b[31mred\x1b[0m\r\n")
	}
	if os.Args[2] == "fails" {
		fmt.Print("no line feed")
		os.Exit(7)
	}
	if os.Args[2] == "leaves" { // when the file is there
		for {
			if _, err := os.Stat(os.Args[3]); err == nil {
				os.Exit(0)
			}
			time.Sleep(time.Millisecond)
		}
	}
	if len(os.Args) > 3 { // once: ends when the file is not there, and makes it
		if _, err := os.Stat(os.Args[3]); err != nil {
			_ = os.WriteFile(os.Args[3], nil, 0o600)
			time.Sleep(50 * time.Millisecond)
			os.Exit(3)
		}
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	fmt.Println(os.Args[2], "ends")
}

func process(name string, more ...string) Process {
	return Process{Name: name, Args: append([]string{"process", name}, more...)}
}

// output waits for texts.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
	seen chan struct{}
}

func newOutput() *output { return &output{seen: make(chan struct{}, 1000)} }

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.seen <- struct{}{}
	return o.text.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

func (o *output) wait(t *testing.T, texts ...string) {
	t.Helper()
	late := time.After(20 * time.Second)
	for _, text := range texts {
		for !strings.Contains(o.String(), text) {
			select {
			case <-o.seen:
			case <-late:
				t.Fatalf("no %q in:\n%s", text, o)
			}
		}
	}
}

func start(t *testing.T, cfg Config) (o *output, stop func() error) {
	t.Helper()
	t.Setenv("LAYSHAFT_DATA", "of dev alone")
	o = newOutput()
	cfg.Program, cfg.Out = os.Args[0], o
	if cfg.Ready == nil {
		cfg.Ready = func(context.Context) error { return nil }
	}
	if cfg.Welcome == nil {
		cfg.Welcome = func() { fmt.Fprintln(o, "welcome") }
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- Run(ctx, cfg) }()
	return o, func() error {
		cancel()
		return <-ended
	}
}

// The others do not get the flags of this process; the object store and the database are the same for all.
func TestRun(t *testing.T) {
	t.Setenv("LAYSHAFT_DATA", "mine")
	t.Setenv("LAYSHAFT_S3_ENDPOINT", "store")
	t.Setenv("LAYSHAFT_PG_SHOP", "+database")
	o, stop := start(t, Config{First: []Process{process("first")}, Others: []Process{process("w-1"), process("w-2")}})
	o.wait(t, "welcome\n", "first | first starts store+database\n", "w-1   | w-1 starts store+database\n", "w-2   | w-2 starts store+database\n")
	if err := stop(); err != nil {
		t.Error(err)
	}
	o.wait(t, "w-1 ends", "w-2 ends", "first ends")
	if text := o.String(); strings.Index(text, "first ends") < strings.Index(text, "w-1 ends") {
		t.Errorf("the first did not end last:\n%s", text)
	}
}

// Lines of a process do not move the cursor.
func TestLinesEscape(t *testing.T) {
	o, stop := start(t, Config{First: []Process{process("shouts")}})
	o.wait(t, `shouts | \x1b[31mred\x1b[0m`+"\n")
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestStartsAgain(t *testing.T) {
	once := filepath.Join(t.TempDir(), "once")
	hold := make(chan struct{})
	o, stop := start(t, Config{First: []Process{process("first")}, Others: []Process{process("w-1", once)}, Ready: func(ctx context.Context) error {
		close(hold)
		return nil
	}})
	<-hold
	o.wait(t, "dev   | w-1 ended by itself (exit status 3); it starts again in ")
	for strings.Count(o.String(), "w-1 starts") < 2 {
		<-o.seen
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	if n := strings.Count(o.String(), "w-1 starts"); n != 2 {
		t.Errorf("w-1 started %d times, want 2:\n%s", n, o)
	}
}

// A worker that was drained has left: it does not come back.
func TestLeaves(t *testing.T) {
	leave := filepath.Join(t.TempDir(), "leave")
	o, stop := start(t, Config{First: []Process{process("first")}, Others: []Process{process("leaves", leave)}})
	o.wait(t, "welcome\n", "leaves starts")
	if err := os.WriteFile(leave, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	o.wait(t, "leaves has left, as it was asked to")
	if err := stop(); err != nil {
		t.Error(err)
	}
	if n := strings.Count(o.String(), "leaves starts"); n != 1 {
		t.Errorf("it started %d times:\n%s", n, o)
	}
}

func TestFailsBeforeReady(t *testing.T) {
	o := newOutput()
	err := Run(t.Context(), Config{Program: os.Args[0], Out: o, First: []Process{process("first")}, Others: []Process{process("fails")},
		Ready: func(ctx context.Context) error {
			<-ctx.Done()
			return context.Cause(ctx)
		}})
	if err == nil || !strings.Contains(err.Error(), "fails ended before the cluster was ready: exit status 7") {
		t.Errorf("got %v", err)
	}
	o.wait(t, "fails | no line feed\n", "first ends")
	if err := Run(t.Context(), Config{Program: os.Args[0], Out: o, First: []Process{process("first")}, Ready: func(context.Context) error { return errors.New("never") }}); err == nil || err.Error() != "never" {
		t.Errorf("got %v, want the error of Ready", err)
	}
}
