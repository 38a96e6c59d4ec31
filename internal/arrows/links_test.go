package arrows

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// TestWordCountLinks fails if a program that counts words contains code for things it does not use:
// object stores, task queues, web pages, gossip, metrics.
func TestWordCountLinks(t *testing.T) {
	checkLinks(t, "examples/wordcount", module+"/internal/filesys/s3", module+"/coordinator/internal/gearman", module+"/coordinator/internal/queue",
		module+"/coordinator/dashboard", module+"/internal/gossip", module+"/tasks", module+"/proto/layshaft/tasks", "github.com/minio", "github.com/hashicorp", "github.com/prometheus",
		"github.com/parquet-go", "github.com/jackc", "github.com/blevesearch", "testing",
		module+"/internal/page", module+"/internal/runpage", module+"/internal/flame", "github.com/google/pprof", "golang.org/x/text/encoding", "debug")
}

// maxWordCount is the limit of the program that counts words without its symbols, in bytes.
const maxWordCount = 20_000_000

// TestWordCountIsSmall fails if the program that counts words is too large. If it is, "go list -deps"
// and "go tool nm -size -sort size" show what is new in it. A package that few programs need
// registers itself where it is imported, as mapreduce/inspect does.
func TestWordCountIsSmall(t *testing.T) {
	if testing.Short() || runtime.GOOS+"/"+runtime.GOARCH != "linux/amd64" {
		t.Skip("builds a program, and the limit is for linux/amd64")
	}
	program := filepath.Join(t.TempDir(), "wordcount")
	build := exec.Command("go", "build", "-ldflags=-s -w", "-o", program, "./examples/wordcount")
	build.Dir, build.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	st, err := os.Stat(program)
	if err != nil {
		t.Fatal(err)
	}
	if st.Size() > maxWordCount {
		t.Errorf("the word count is %d bytes, the limit is %d", st.Size(), maxWordCount)
	}
}

// TestScatterLinks fails if a program that submits and runs tasks contains a coordinator, a worker
// of pipelines, or their stores.
func TestScatterLinks(t *testing.T) {
	checkLinks(t, "examples/scatter", module+"/coordinator", module+"/worker", module+"/mapreduce", module+"/internal/state", module+"/internal/filesys/s3",
		"github.com/dgraph-io", "github.com/minio", "github.com/prometheus", "github.com/jackc", "testing")
}

// TestTracingLinks fails if package tracing contains pages, which it does not show.
func TestTracingLinks(t *testing.T) {
	checkLinks(t, "tracing", module+"/mapreduce", module+"/internal/page", module+"/internal/runpage", module+"/internal/flame", "github.com/google/pprof", "html", "net/http/pprof", "testing")
}

// checkLinks fails if a program of this module links one of the packages or a package below it.
func checkLinks(t *testing.T, program string, unused ...string) {
	t.Helper()
	list := exec.Command("go", "list", "-deps", "./"+program)
	list.Dir = root
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	for pkg := range strings.Lines(string(out)) {
		pkg = strings.TrimSpace(pkg)
		for _, prefix := range unused {
			if pkg == prefix || strings.HasPrefix(pkg, prefix+"/") {
				t.Errorf("%s links %s; import it where it is used, not in a package that all such programs need", program, pkg)
			}
		}
	}
}
