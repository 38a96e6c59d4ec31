//go:build unix

package tasks

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/layshaft/layshaft/e2e/internal/python"
	"github.com/layshaft/layshaft/internal/porttest"
	tasksv1 "github.com/layshaft/layshaft/proto/layshaft/tasks/v1"
	"github.com/layshaft/layshaft/tasks"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"
)

const pythonDir = "../../python"

// pythonCommand returns a command of Python that finds the package of this repository. It skips the
// test where that cannot be had.
func pythonCommand(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	p, err := python.FindLayshaft(pythonDir)
	if err != nil {
		t.Skip(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, p.Program, args...)
	cmd.Env = append(os.Environ(), p.Env()...)
	return cmd
}

// The tests of the Python package pass against this coordinator.
func TestPython(t *testing.T) {
	t.Parallel()
	var addresses []string
	for range 12 { // one for each coordinator of the tests, and two that nobody serves
		addresses = append(addresses, porttest.Free(t))
	}
	cmd := pythonCommand(t, "-m", "unittest", "-v", "test_layshaft", "test_machine")
	cmd.Dir = filepath.Join(pythonDir, "tests")
	cmd.Env = append(cmd.Env, "LAYSHAFT_BIN="+filepath.Join(binDir, "layshaft"), "LAYSHAFT_TEST_ADDRESSES="+strings.Join(addresses, ","))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// The generated Python code fits the schema.
func TestPythonStubs(t *testing.T) {
	t.Parallel()
	cmd := pythonCommand(t, "-c", "import sys; from layshaft.v1 import tasks_pb2; sys.stdout.buffer.write(tasks_pb2.DESCRIPTOR.serialized_pb)")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var got descriptorpb.FileDescriptorProto
	if err := proto.Unmarshal(out, &got); err != nil {
		t.Fatal(err)
	}
	want := protodesc.ToFileDescriptorProto(tasksv1.File_layshaft_v1_tasks_proto)
	dropJSONNames(want.GetMessageType())
	if !proto.Equal(&got, want) {
		t.Error("python/src/layshaft/v1/tasks_pb2.py is not what proto/layshaft/v1/tasks.proto gives; run make python-stubs")
	}
}

// dropJSONNames drops the names that only Go's code has: they follow from the names of the fields.
func dropJSONNames(messages []*descriptorpb.DescriptorProto) {
	for _, m := range messages {
		for _, f := range m.GetField() {
			f.JsonName = nil
		}
		dropJSONNames(m.GetNestedType())
	}
}

// The examples of docs/languages.md are files of this repository, and work.
func TestLanguages(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/languages.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"python/examples/worker.py", "python/examples/client.py", "examples/node/client.mjs", "examples/node/worker.mjs"} {
		code, err := os.ReadFile("../../" + name)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(page, bytes.TrimSpace(code)) {
			t.Errorf("docs/languages.md does not show %s as it is", name)
		}
	}
	c := &cluster{dir: t.TempDir(), http: porttest.Free(t)}
	c.launch(t)
	environment := append(os.Environ(), "LAYSHAFT_CLUSTER="+c.address)

	t.Run("python", func(t *testing.T) {
		worker := pythonCommand(t, pythonDir+"/examples/worker.py")
		worker.Env = append(worker.Env, "LAYSHAFT_CLUSTER="+c.address)
		if err := worker.Start(); err != nil {
			t.Fatal(err)
		}
		c.await(t, "the worker", func(o tasks.Overview) bool { return function(o, "reverse").Workers == 1 })
		client := pythonCommand(t, pythonDir+"/examples/client.py")
		client.Env = append(client.Env, "LAYSHAFT_CLUSTER="+c.address)
		out, err := client.CombinedOutput()
		if err != nil || !strings.HasPrefix(string(out), "olleh\nretal\n") || strings.Count(string(out), "\n") != 5 {
			t.Errorf("the client printed %q, %v", out, err)
		}
		if err := worker.Process.Signal(os.Interrupt); err != nil {
			t.Error(err)
		}
		if err := worker.Wait(); err != nil {
			t.Errorf("the worker ended with %v", err)
		}
	})
	t.Run("node", func(t *testing.T) {
		node, err := exec.LookPath("node")
		if err != nil {
			t.Skip("node is not installed")
		}
		worker := launch(t, "layshaft", "task", "work", "-cluster", c.address, "-function", "shout", "--", node, "../../examples/node/worker.mjs")
		defer worker.Kill()
		client := exec.CommandContext(t.Context(), node, "../../examples/node/client.mjs", "http://"+c.http, "shout", "hello")
		client.Env = environment
		if out, err := client.CombinedOutput(); err != nil || string(out) != "HELLO\n" {
			t.Errorf("the client printed %q, %v", out, err)
		}
	})
}
