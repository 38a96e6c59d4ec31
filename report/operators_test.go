package report_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/report"
)

// operators are statements of every operator, over the tables that operatorFiles writes. Those
// without ORDER BY must have the same rows in the same order, too.
var operators = []string{
	"SELECT id % 10000 AS k, count(*), sum(x), avg(x), min(name), max(n) FROM big.csv GROUP BY k",
	"SELECT name, count(*) FROM big.csv GROUP BY name ORDER BY 2 DESC, 1 LIMIT 50",
	"SELECT id % 3000 AS k, grp, sum(n), grouping(grp) FROM big.csv GROUP BY GROUPING SETS ((k, grp), (k), ()) ORDER BY 1, 2, 4",
	"SELECT grp, count(DISTINCT id), count(DISTINCT name), sum(DISTINCT n) FROM big.csv GROUP BY CUBE (grp) ORDER BY 1",
	"SELECT count(DISTINCT x), approx_count_distinct(x), median(x), quantile_disc(id, 0.3), mode(grp) FROM big.csv",
	"SELECT grp, string_agg(name, '' ORDER BY id), array_agg(n ORDER BY x DESC, id) FROM big.csv GROUP BY grp ORDER BY grp",
	"SELECT * FROM big.csv ORDER BY x DESC, id",
	"SELECT id, name FROM big.csv ORDER BY name, id DESC LIMIT 20000 OFFSET 100",
	"SELECT DISTINCT name, n FROM big.csv",
	"SELECT DISTINCT ON (name) name, id FROM big.csv ORDER BY name, x",
	"SELECT b.id, s.v FROM big.csv b JOIN small.csv s ON b.n = s.n",
	"SELECT b.id, s.v FROM big.csv b LEFT JOIN small.csv s ON b.n = s.n AND b.id > s.v ORDER BY 1, 2",
	"SELECT s.n, count(b.id) FROM big.csv b RIGHT JOIN small.csv s ON b.id = s.v GROUP BY s.n ORDER BY 1",
	"SELECT count(b.id), count(s.v), sum(b.x) FROM big.csv b FULL JOIN small.csv s ON b.id = s.v",
	"SELECT id FROM big.csv SEMI JOIN small.csv USING (n)",
	"SELECT count(*) FROM big.csv b ANTI JOIN small.csv s ON b.id = s.v",
	"SELECT count(*) FROM big.csv a JOIN big.csv b ON a.id = b.id AND a.x = b.x",
	"SELECT id, row_number() OVER (PARTITION BY name ORDER BY x, id), sum(x) OVER (PARTITION BY name ORDER BY id ROWS 3 PRECEDING) FROM big.csv",
	"SELECT name, id FROM big.csv QUALIFY rank() OVER (PARTITION BY name ORDER BY x DESC, id) = 1 ORDER BY 1",
	"SELECT name, n FROM big.csv INTERSECT SELECT name, n FROM big.csv WHERE id % 2 = 0 ORDER BY 1, 2",
	"SELECT name FROM big.csv EXCEPT ALL SELECT name FROM big.csv WHERE id < 5000",
	"SELECT name FROM big.csv UNION SELECT s.v::text FROM small.csv s",
	"SELECT count(*) FROM big.csv WHERE n IN (SELECT n FROM small.csv) AND x > (SELECT avg(x) FROM big.csv)",
	"WITH g AS (SELECT name, sum(n) AS s FROM big.csv GROUP BY name) SELECT count(*), max(s) FROM g WHERE s > (SELECT avg(s) FROM g)",
	"SELECT part, count(*) FROM (SELECT unnest(string_split(name, '-')) AS part FROM big.csv) GROUP BY part ORDER BY 2 DESC, 1 LIMIT 20",
}

// operatorFiles writes the tables: big.csv has n rows of 260 bytes.
func operatorFiles(t *testing.T, n int) {
	var big, small strings.Builder
	r, pad := rand.New(rand.NewPCG(6, 0)), strings.Repeat("-padded", 30)
	big.WriteString("id,n,grp,name,x\n")
	for id := range n {
		fmt.Fprintf(&big, "%d,%d,g%d,name-%d%s,%g\n", id, r.IntN(2000), r.IntN(5), r.IntN(n/3), pad, r.NormFloat64()*float64(uint64(1)<<r.IntN(60)))
	}
	small.WriteString("n,v\n")
	for n := range 300 {
		fmt.Fprintf(&small, "%d,%d\n", n*5, r.IntN(1000))
	}
	files(t, map[string]string{"big.csv": big.String(), "small.csv": small.String()})
}

// TestMemory runs every operator with the least memory, so that rows go to disk: the bytes are
// those with plenty. Joins are tried with a copy of the small input in each task, and without.
func TestMemory(t *testing.T) {
	operatorFiles(t, 20_000)
	for i, text := range operators {
		if testing.Short() && i%6 != 0 {
			continue
		}
		want, err := answer(t, mapreduce.Local{Slots: 2}, text)
		if err != nil || want == "" {
			t.Fatalf("%s: %.100q, %v", text, want, err)
		}
		if got, err := answer(t, mapreduce.Local{Slots: 2, Memory: 16 << 20}, text); err != nil || got != want {
			t.Errorf("%s\nwith little memory: %v\n%.300s\nwant\n%.300s", text, err, got, want)
		}
	}
	report.SetBroadcast(t, 0)
	for i, text := range operators {
		if !strings.Contains(text, "JOIN") || testing.Short() && i%3 != 0 {
			continue
		}
		var all [2]string
		for k, memory := range []int64{0, 16 << 20} {
			var err error
			if all[k], err = answer(t, mapreduce.Local{Slots: 2, Memory: memory}, text); err != nil {
				t.Errorf("%s, shuffled: %v", text, err)
			}
		}
		if all[0] != all[1] {
			t.Errorf("%s, shuffled with little memory:\n%.300s\nwant\n%.300s", text, all[1], all[0])
		}
	}
}

// TestTooLarge checks the words of what must fit into memory and does not.
func TestTooLarge(t *testing.T) {
	operatorFiles(t, 20_000)
	report.SetBroadcast(t, 0)
	for _, c := range []struct{ text, want string }{
		{"SELECT id, lag(name) OVER (ORDER BY id), max(name) OVER (ORDER BY id) FROM big.csv", "a partition of the window function lag must fit into memory"},
		{"SELECT count(b.name) FROM (SELECT 1 AS one FROM small.csv) a LEFT JOIN (SELECT 1 AS one, * FROM big.csv) b USING (one)", "the rows of one key on the right side of a join must fit into memory"},
	} {
		if _, err := answer(t, mapreduce.Local{Slots: 1, Memory: 8 << 20}, c.text); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "-memory") {
			t.Errorf("%s\ngot %v", c.text, err)
		}
	}
}

// TestJoinOrder checks that customers are joined by their key, after their orders, and not before
// by nation, which would make many pairs.
func TestJoinOrder(t *testing.T) {
	rows := func(n int, row string) string {
		var b strings.Builder
		for i := range n {
			b.WriteString(strings.ReplaceAll(row, "#", fmt.Sprint(i)) + "\n")
		}
		return b.String()
	}
	files(t, map[string]string{
		"lines.csv":     "okey,supplier\n" + rows(400, "#,1"),
		"orders.csv":    "okey,customer\n" + rows(200, "#,#"),
		"customers.csv": "ckey,cnation\n" + rows(50, "#,1"),
		"suppliers.csv": "skey,snation\n" + rows(20, "#,1"),
		"nations.csv":   "nkey\n" + rows(2, "#"),
	})
	plan, err := answer(t, mapreduce.Local{}, `EXPLAIN SELECT count(*) FROM customers.csv, orders.csv, lines.csv, suppliers.csv, nations.csv
		WHERE ckey = customer AND lines.okey = orders.okey AND supplier = skey AND cnation = snation AND snation = nkey`)
	if err != nil {
		t.Fatal(err)
	}
	if orders, customers := strings.Index(plan, "scan orders"), strings.Index(plan, "scan customers"); orders < 0 || customers < orders {
		t.Errorf("customers are joined first:\n%s", plan)
	}
}
