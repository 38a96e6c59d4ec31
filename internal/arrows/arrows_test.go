package arrows

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/layshaft/layshaft"

// rule forbids files to import packages.
type rule struct {
	from func(file string) bool // file is relative to the module
	to   func(pkg string) bool  // pkg is as in the import
	why  string
}

// in tells whether a file or package lies in one of the folders. The folder "mapreduce/." is that folder without those in it.
func in(folders ...string) func(name string) bool {
	return func(name string) bool {
		return slices.ContainsFunc(folders, func(folder string) bool {
			if only, ok := strings.CutSuffix(folder, "/."); ok {
				return name == only || path.Dir(name) == only && strings.HasSuffix(name, ".go")
			}
			return name == folder || strings.HasPrefix(name, folder+"/")
		})
	}
}

// own is in for packages of this module.
func own(folders ...string) func(pkg string) bool {
	return func(pkg string) bool {
		name, ok := strings.CutPrefix(pkg, module+"/")
		return ok && in(folders...)(name)
	}
}

func both(a, b func(string) bool) func(string) bool {
	return func(name string) bool { return a(name) && b(name) }
}

func not(f func(string) bool) func(string) bool {
	return func(name string) bool { return !f(name) }
}

// isTestPackage reports whether a package is for tests, by its name: layshafttest, net/http/httptest.
func isTestPackage(pkg string) bool { return strings.HasSuffix(path.Base(pkg), "test") }

// inTestPackage reports whether a file belongs to a package for tests.
func inTestPackage(file string) bool { return isTestPackage(path.Dir(file)) }

var (
	cores = in("coordinator/internal/sched", "coordinator/internal/queue", "coordinator/internal/schedule")
	// speakers are the packages that may import generated types: the first and last line of what goes
	// over the wire or into the journal.
	speakers = in("internal/wire", "internal/client", "internal/child", "internal/filesys/remote", "coordinator/jobserver", "coordinator/taskserver",
		"coordinator/httpapi", "internal/outbox", "coordinator/internal/journal", "coordinator/internal/records", "worker/.", "tasks/.", "proto")
)

var rules = []rule{
	{in("coordinator"), own("worker"),
		"the coordinator and the worker are two processes; they meet in internal/job and on the wire"},
	{in("worker"), own("coordinator"),
		"the worker and the coordinator are two processes; they meet in internal/job and on the wire"},
	{both(in("mapreduce", "internal"), not(in("mapreduce/.", "mapreduce/window", "mapreduce/loop"))), own("mapreduce/."),
		"package mapreduce is the roof: only mapreduce/window, mapreduce/loop and programs stand on it; sources and sinks are written against mapreduce/connector"},
	{in("mapreduce/connector"), both(func(pkg string) bool { return strings.Contains(strings.Split(pkg, "/")[0], ".") }, not(own("internal/call", "internal/job"))),
		"mapreduce/connector is for authors of sources and sinks and knows nothing of the engine: the standard library, internal/call and internal/job only"},
	{in("mapreduce/agg"), both(func(pkg string) bool { return strings.Contains(strings.Split(pkg, "/")[0], ".") }, not(own("internal/sketch"))),
		"mapreduce/agg holds folds over values, which anything may use: the standard library and internal/sketch only"},
	{in("report/internal/sql"), both(func(pkg string) bool { return strings.Contains(strings.Split(pkg, "/")[0], ".") }, not(own("internal/spelling"))),
		"report/internal/sql reads a statement into a tree and knows nothing of the engine: the standard library and internal/spelling only"},
	{in("internal"), own("coordinator", "worker", "mapreduce"),
		"internal/ is the ground that the roles share; what it needs from them is an interface that it declares itself"},
	{in("coordinator", "worker"), own("mapreduce", "tasks", "report", "workflow", "cmd", "examples"),
		"the roles run a job.Program and know nothing of how users write one"},
	{in("internal/job"), func(pkg string) bool { return strings.Contains(strings.Split(pkg, "/")[0], ".") },
		"internal/job holds words, which everybody can afford: the standard library only"},
	{cores, func(pkg string) bool {
		return own("proto")(pkg) || in("context", "sync", "os", "net", "log", "google.golang.org", "github.com/dgraph-io/badger")(pkg)
	}, "a core is pure: time and randomness are arguments, and the shell around it owns sockets, disks and goroutines"},
	{not(inTestPackage), isTestPackage,
		"a package whose name ends in test is for tests: give production code an interface or a hook that the test fills"},
	{in("mapreduce"), own("coordinator/jobserver", "coordinator/taskserver", "coordinator/datadir"),
		"a pipeline program embeds the event loop of package coordinator and talks to other coordinators through internal/client; it links no server"},
	{not(in("internal/postgres", "internal/outbox", "internal/pgtest", "mapreduce/pgio", "report/postgres", "cmd", "examples", "e2e", "bench")), func(pkg string) bool {
		return own("internal/postgres", "internal/outbox", "mapreduce/pgio", "report/postgres")(pkg) || in("github.com/jackc")(pkg)
	}, "a program that reads no PostgreSQL carries no driver: use a hook that package pgio or report/postgres fills"},
	{not(in("mapreduce/indexio")), in("github.com/blevesearch"),
		"an index of bleve adds 13 MB to a program: only mapreduce/indexio imports it, so that other programs do not carry it"},
	{not(in("tracing")), both(in("go.opentelemetry.io"), not(in("go.opentelemetry.io/proto"))),
		"a program that makes no spans links nothing of OpenTelemetry: internal/spans is the seam that package tracing fills"},
	{not(speakers), own("proto"),
		"generated types live at the edge: take and return the types of internal/job, and let internal/wire turn them into messages"},
}

// broken returns why file must not import pkg.
func broken(file, pkg string) (why []string) {
	for _, r := range rules {
		if r.from(file) && r.to(pkg) {
			why = append(why, r.why)
		}
	}
	return why
}

// Tests may import what they like; all other files of the module are read, for every system.
func TestArrowsPointDown(t *testing.T) {
	root := filepath.Join("..", "..")
	files := 0
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && file != root {
			_, other := os.Stat(filepath.Join(file, "go.mod"))
			if other == nil || d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".") {
				return filepath.SkipDir
			}
		}
		if d.IsDir() || !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			return nil
		}
		files++
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		for _, spec := range parsed.Imports {
			pkg, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			for _, why := range broken(filepath.ToSlash(name), pkg) {
				t.Errorf("%s imports %s:\n\t%s", name, pkg, why)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 20 {
		t.Errorf("only %d files found: is %s the root of the module?", files, root)
	}
}

func TestRules(t *testing.T) {
	tests := []struct {
		file, pkg string
		broken    bool
	}{
		{"coordinator/workers.go", module + "/worker", true},
		{"coordinator/internal/gearman/server.go", module + "/worker/internal/runner", true},
		{"worker/worker.go", module + "/coordinator", true},
		{"worker/worker.go", module + "/internal/job", false},
		{"worker/worker.go", module + "/mapreduce", true},
		{"worker/internal/attempt/attempt.go", module + "/proto/layshaft/v1", true},
		{"worker/session.go", module + "/proto/layshaft/v1", false},
		{"mapreduce/run.go", module + "/coordinator", false},
		{"mapreduce/run.go", module + "/worker", false},
		{"mapreduce/run.go", module + "/internal/files", false},
		{"internal/files/chunk.go", module + "/mapreduce", true},
		{"mapreduce/textio/lines.go", module + "/mapreduce", true},
		{"mapreduce/source/source.go", module + "/mapreduce", true},
		{"mapreduce/textio/lines.go", module + "/mapreduce/connector", false},
		{"mapreduce/connector/sink.go", module + "/internal/files", true},
		{"mapreduce/connector/source.go", module + "/internal/job", false},
		{"mapreduce/loop/loop.go", module + "/mapreduce", false},
		{"mapreduce/window/window.go", module + "/mapreduce", false},
		{"mapreduce/wide.go", module + "/mapreduce/agg", false},
		{"mapreduce/agg/agg.go", module + "/mapreduce", true},
		{"report/internal/sql/parser.go", module + "/internal/job", true},
		{"mapreduce/agg/agg.go", module + "/internal/job", true},
		{"mapreduce/agg/sketch.go", module + "/internal/sketch", false},
		{"mapreduce/agg/agg.go", "slices", false},
		{"mapreduce/textio/lines.go", module + "/internal/files", false},
		{"report/plan.go", module + "/mapreduce", false},
		{"report/internal/sql/parse.go", module + "/mapreduce", true},
		{"examples/wordcount/main.go", module + "/mapreduce/textio", false},
		{"mapreduce/cluster.go", module + "/layshafttest", true},
		{"mapreduce/cluster.go", "net/http/httptest", true},
		{"layshafttest/gossip.go", module + "/internal/gossip/gossiptest", false},
		{"internal/job/job.go", "context", false},
		{"internal/job/job.go", "google.golang.org/protobuf/proto", true},
		{"internal/job/job.go", module + "/internal/record", true},
		{"internal/spill/table.go", module + "/mapreduce", true},
		{"internal/spill/table.go", module + "/worker", true},
		{"internal/wire/job.go", module + "/proto/layshaft/v1", false},
		{"internal/gossip/gossip.go", module + "/proto/layshaft/v1", true},
		{"coordinator/internal/sched/sched.go", "container/list", false},
		{"coordinator/internal/sched/sched.go", "time", false},
		{"coordinator/internal/sched/sched.go", "sync/atomic", true},
		{"coordinator/internal/sched/sched.go", "net/netip", true},
		{"coordinator/internal/sched/sched.go", "log/slog", true},
		{"coordinator/internal/sched/sched.go", "google.golang.org/grpc", true},
		{"coordinator/internal/queue/queue.go", "github.com/dgraph-io/badger/v4", true},
		{"coordinator/internal/queue/queue.go", "os", true},
		{"coordinator/internal/journal/badger.go", "github.com/dgraph-io/badger/v4", false},
		{"coordinator/internal/records/records.go", module + "/proto/layshaft/v1", false},
		{"coordinator/jobs.go", module + "/proto/layshaft/v1", true},
		{"coordinator/jobserver/work.go", module + "/proto/layshaft/v1", false},
		{"coordinator/taskserver/work.go", module + "/proto/layshaft/v1", false},
		{"coordinator/datadir/backup.go", module + "/proto/layshaft/v1", true},
		{"coordinator/dashboard/views.go", module + "/proto/layshaft/v1", true},
		{"internal/client/client.go", module + "/proto/layshaft/v1", false},
		{"internal/client/client.go", module + "/coordinator", true},
		{"mapreduce/cluster.go", module + "/internal/client", false},
		{"mapreduce/cluster.go", module + "/coordinator/jobserver", true},
		{"mapreduce/embedded.go", module + "/coordinator/taskserver", true},
		{"mapreduce/embedded.go", module + "/coordinator/datadir", true},
	}
	for _, tt := range tests {
		if why := broken(tt.file, tt.pkg); (len(why) > 0) != tt.broken {
			t.Errorf("%s imports %s: %q, want broken = %v", tt.file, tt.pkg, why, tt.broken)
		}
	}
}
