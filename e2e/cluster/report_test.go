//go:build unix

package cluster

import (
	"errors"
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
	"SELECT grp, n, count(*), count(DISTINCT name), grouping(n) FROM 'DIR/*.jsonl' WHERE n < 50 GROUP BY CUBE (grp, n) ORDER BY 1, 2, 5",
	"SELECT count(*), sum(a.x), count(b.n) FROM 'DIR/*.jsonl' a FULL JOIN 'DIR/part-01.jsonl' b ON a.n = b.n AND a.name = b.name",
	"SELECT name FROM 'DIR/*.jsonl' EXCEPT SELECT name FROM 'DIR/part-00.jsonl' WHERE n > 2500 ORDER BY name",
	"SELECT DISTINCT ON (name) name, n, x, x IN (SELECT max(x) FROM 'DIR/*.jsonl' GROUP BY grp) FROM 'DIR/*.jsonl' ORDER BY name, x, n LIMIT 300",
	"SELECT c, count(*), quantile_disc(x, 0.7), string_agg(DISTINCT grp, '+' ORDER BY grp) FROM (SELECT x, grp, unnest(string_split(name, '')) AS c FROM 'DIR/*.jsonl') GROUP BY c ORDER BY c",
	"SELECT grp, count(*), sum((SELECT count(*) FROM 'DIR/part-00.jsonl' b WHERE b.x > a.x AND b.n < 20)) FROM 'DIR/*.jsonl' a WHERE EXISTS (SELECT 1 FROM 'DIR/*.jsonl' c WHERE c.x < a.x AND c.n > 2990) GROUP BY grp ORDER BY grp",
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
	dir, offered := reportFiles(t), t.TempDir()
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
		m := startMembers(t, config{workers: workers, given: true, own: func(int) []string { return []string{"-dataset", "in=" + offered} }})
		if workers == 1 {
			checkHostileReports(t, m, offered)
		}
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

// checkHostileReports checks that reports read nothing outside of a dataset.
func checkHostileReports(t *testing.T, m *members, dataset string) {
	secret := filepath.Join(t.TempDir(), "secret.csv")
	for path, content := range map[string]string{secret: "word\nsesame\n", filepath.Join(dataset, "open.csv"): "word\nhello\n"} {
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Symlink(secret, filepath.Join(dataset, "link.csv")), os.Symlink(filepath.Dir(secret), filepath.Join(dataset, "dir"))); err != nil {
		t.Fatal(err)
	}
	report := func(text string) (out string, code int) {
		p := launch(t, "hostile report", "layshaft", slices.Concat([]string{"report", "-cluster", m.grpc}, m.config.cli, []string{text})...)
		code = p.Wait(t)
		return p.Out.String(), code
	}
	if out, code := report("SELECT word FROM 'dataset://in/open.csv'"); code != 0 || !strings.Contains(out, "hello") {
		t.Errorf("a file of the dataset: exit %d, %q", code, out)
	}
	up, err := filepath.Rel(dataset, secret)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"link.csv", "dir/secret.csv", up, "../" + filepath.Base(dataset) + "/open.csv", "/" + secret, "./" + up} {
		if out, code := report("SELECT * FROM 'dataset://in/" + path + "'"); code == 0 || strings.Contains(out, "sesame") {
			t.Errorf("dataset://in/%s: exit %d, %q", path, code, out)
		}
	}
	if out, _ := report("SELECT * FROM 'dataset://in/**'"); strings.Contains(out, "sesame") {
		t.Errorf("a glob follows a link: %q", out)
	}
}
