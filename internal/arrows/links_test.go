package arrows

import (
	"os/exec"
	"strings"
	"testing"
)

// TestWordCountLinks fails if a program that counts words contains code for things it does not use:
// object stores, task queues, web pages, gossip, metrics.
func TestWordCountLinks(t *testing.T) {
	checkLinks(t, "examples/wordcount", module+"/internal/filesys/s3", module+"/coordinator/internal/gearman", module+"/coordinator/internal/queue",
		module+"/coordinator/dashboard", module+"/internal/gossip", module+"/tasks", "github.com/minio", "github.com/hashicorp", "github.com/prometheus",
		"github.com/parquet-go", "github.com/jackc", "github.com/blevesearch", "testing")
}

// TestScatterLinks fails if a program that submits and runs tasks contains a coordinator, a worker
// of pipelines, or their stores.
func TestScatterLinks(t *testing.T) {
	checkLinks(t, "examples/scatter", module+"/coordinator", module+"/worker", module+"/mapreduce", module+"/internal/state", module+"/internal/filesys/s3",
		"github.com/dgraph-io", "github.com/minio", "github.com/prometheus", "github.com/jackc", "testing")
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
