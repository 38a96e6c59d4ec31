package arrows

import (
	"os/exec"
	"strings"
	"testing"
)

// TestWordCountLinks fails if a program that counts words contains code for things it does not use:
// object stores, task queues, web pages, gossip, metrics.
func TestWordCountLinks(t *testing.T) {
	list := exec.Command("go", "list", "-deps", "./examples/wordcount")
	list.Dir = "../.."
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	for pkg := range strings.Lines(string(out)) {
		pkg = strings.TrimSpace(pkg)
		for _, unused := range []string{module + "/internal/filesys/s3", module + "/coordinator/internal/gearman", module + "/coordinator/internal/queue",
			module + "/coordinator/dashboard", module + "/internal/gossip", module + "/tasks", "github.com/minio", "github.com/hashicorp/memberlist",
			"github.com/prometheus", "testing"} {
			if pkg == unused || strings.HasPrefix(pkg, unused+"/") {
				t.Errorf("examples/wordcount links %s; import it where it is used, not in a package that all pipelines need", pkg)
			}
		}
	}
}
