//go:build unix

package cluster

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// reportStatements are statements of all ways in which rows meet.
var reportStatements = []string{
	"SELECT grp, count(*), sum(x), avg(x), stddev(x), min(name), string_agg(name, '') FILTER (WHERE n < 3) FROM 'DIR/*.jsonl' GROUP BY grp ORDER BY grp",
	"SELECT n, name, x FROM 'DIR/*.jsonl' ORDER BY x DESC, n LIMIT 50",
	"SELECT count(DISTINCT name), approx_count_distinct(name), approx_quantile(x, 0.9), median(x) FROM 'DIR/*.jsonl'",
	"SELECT a.grp, count(*) FROM 'DIR/*.jsonl' a JOIN 'DIR/part-00.jsonl' b ON a.name = b.name GROUP BY a.grp ORDER BY 1",
	"SELECT grp, n, rank() OVER (PARTITION BY grp ORDER BY x) AS r FROM 'DIR/*.jsonl' QUALIFY r <= 2 ORDER BY 1, 3, 2",
}

// reportFiles writes files of rows whose sums depend on the order of additions, unless they are
// exact.
func reportFiles(t *testing.T) (dir string) {
	dir = t.TempDir()
	r := rand.New(rand.NewPCG(5, 0))
	for f := range 12 {
		var b strings.Builder
		for n := range 3000 {
			fmt.Fprintf(&b, "{\"n\":%d,\"grp\":\"g%d\",\"name\":\"k%d\",\"x\":%g}\n", n, r.IntN(7), r.IntN(900), r.NormFloat64()*float64(uint64(1)<<r.IntN(60)))
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("part-%02d.jsonl", f)), []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestReports checks that statements have the same bytes in one process, on one, two and three
// workers, and when a worker dies. The workers were given no program and take none.
func TestReports(t *testing.T) {
	t.Parallel()
	dir := reportFiles(t)
	statement := func(i int) string { return strings.ReplaceAll(reportStatements[i], "DIR", dir) }
	var want []string
	for i := range reportStatements {
		out, err := exec.Command(filepath.Join(binDir, "layshaft"), "report", statement(i)).Output()
		if err != nil || len(out) < 20 {
			t.Fatalf("%s: %q, %v", statement(i), out, err)
		}
		want = append(want, string(out))
	}
	for workers := 1; workers <= 3; workers++ {
		m := startMembers(t, config{workers: workers, given: true})
		var runs []*process
		for i := range reportStatements {
			runs = append(runs, launch(t, fmt.Sprint("report ", i), "layshaft", slices.Concat([]string{"report", "-cluster", m.grpc}, m.config.cli, []string{statement(i)})...))
		}
		if workers == 3 {
			m.committed(1)
			m.die(0)
		}
		for i, p := range runs {
			if code := p.Wait(t); code != 0 || p.Out.String() != want[i] {
				t.Errorf("%d workers: %s: exit %d\n%.500s\nwant\n%.500s", workers, reportStatements[i], code, p.Out.String(), want[i])
			}
		}
	}
}
