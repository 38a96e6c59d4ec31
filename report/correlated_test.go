package report_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/report"
)

const outerRows = "n,k,x,y\n0,1,10,5\n1,1,20,\n2,2,30,7\n3,2,,3\n4,3,5,1\n5,,7,2\n6,4,50,9\n"

const innerRows = "k,x,z\n1,15,1\n1,25,2\n2,10,\n2,40,4\n5,7,5\n,8,6\n"

// correlatedCases draws subqueries over b with columns of a, as conditions and as values.
type correlatedCases struct{ *rand.Rand }

func (r correlatedCases) pick(list ...string) string { return list[r.IntN(len(list))] }

func (r correlatedCases) outer() string { return "a." + r.pick("k", "x", "y") }
func (r correlatedCases) inner() string { return "b." + r.pick("k", "x", "z") }

func (r correlatedCases) condition(depth int) string {
	switch n := r.IntN(100); {
	case n < 20 && depth < 2:
		return "(" + r.condition(depth+1) + " OR " + r.condition(depth+1) + ")"
	case n < 35:
		return r.inner() + " = " + r.outer()
	case n < 60:
		return r.inner() + r.pick(" < ", " > ", " <= ", " >= ", " <> ") + r.outer()
	case n < 70:
		return fmt.Sprintf("%s + %s > %d", r.inner(), r.outer(), r.IntN(40))
	case n < 75:
		return r.outer() + " IS NULL"
	case n < 80:
		return fmt.Sprintf("%s > %d", r.outer(), r.IntN(20))
	case n < 85:
		return r.inner() + " BETWEEN " + r.outer() + " AND " + r.outer()
	case n < 90 && depth < 1:
		return "EXISTS (SELECT 1 FROM 'b.csv' c WHERE c.x > " + r.outer() + " AND c.z <= " + r.inner() + ")"
	}
	return "NOT (" + r.inner() + " > " + r.outer() + ")"
}

func (r correlatedCases) value() string {
	where := r.condition(0)
	for range r.IntN(3) {
		where += " AND " + r.condition(0)
	}
	from := " FROM 'b.csv' b WHERE " + where + ")"
	agg := r.pick("count(*)", "sum(b.x)", "max(b.z)", "min(b.x - a.x)", "count(*) + sum(b.z)", "count(DISTINCT b.k)", "sum(b.x) + a.y", "coalesce(max(b.x), a.x)", "array_agg(b.z ORDER BY b.z)")
	return r.pick("EXISTS (SELECT 1"+from, "NOT EXISTS (SELECT b.x"+from, "a.x IN (SELECT b.x"+from, "a.y NOT IN (SELECT b.z"+from, "a.x IN (SELECT b.x - a.k"+from, "(SELECT "+agg+from)
}

// Subqueries with outer columns have the values that they have with the values of one outer row in
// their place, for every row.
func TestCorrelatedByRow(t *testing.T) {
	files(t, map[string]string{"a.csv": outerRows, "b.csv": innerRows})
	queries := 40
	if testing.Short() {
		queries = 10
	}
	r := correlatedCases{rand.New(rand.NewPCG(11, 0))}
	for range queries {
		value := r.value()
		text := "SELECT n, " + value + " AS v FROM 'a.csv' a ORDER BY n"
		got, err := answer(t, mapreduce.Local{Slots: 1}, text)
		if err != nil {
			t.Errorf("%s\n%v", text, err)
			continue
		}
		var each []string
		for _, line := range strings.Split(strings.TrimSpace(outerRows), "\n")[1:] {
			cells := strings.Split(line, ",")
			alone := value
			for i, name := range []string{"n", "k", "x", "y"} {
				cell := cells[i]
				if cell == "" {
					cell = "CAST(NULL AS bigint)"
				}
				alone = strings.ReplaceAll(alone, "a."+name, cell)
			}
			each = append(each, "SELECT "+cells[0]+" AS n, "+alone+" AS v")
		}
		want, err := answer(t, mapreduce.Local{Slots: 1}, strings.Join(each, " UNION ALL ")+" ORDER BY n")
		if err != nil || got != want {
			t.Errorf("%s\ngot\n%s\nwant\n%s (%v)", text, got, want, err)
		}
	}
}

// Outer values reach aggregates, groups, several subqueries of one query, and subqueries inside
// subqueries. A count of no rows is 0, and a sum of none is NULL.
func TestCorrelatedForms(t *testing.T) {
	files(t, map[string]string{"a.csv": outerRows, "b.csv": innerRows})
	const b = "FROM 'b.csv' b WHERE "
	for text, want := range map[string]string{
		"SELECT n, count(*) + (SELECT count(*) " + b + "b.x > 100 + a.x) AS c, (SELECT sum(z) " + b + "b.x > 100 + a.x) AS s FROM 'a.csv' a GROUP BY n, x ORDER BY n LIMIT 2":                "0,1,\n1,1,\n",
		"SELECT k, sum(x) AS s, (SELECT count(*) " + b + "b.x < sum(a.x)) FROM 'a.csv' a WHERE k < 3 GROUP BY k":                                                                             "refused",
		"SELECT k, s, (SELECT count(*) " + b + "b.x < s) AS c FROM (SELECT k, sum(x) AS s FROM 'a.csv' WHERE k < 3 GROUP BY k) ORDER BY k":                                                   "1,30,5\n2,30,5\n",
		"SELECT k FROM 'a.csv' a GROUP BY k HAVING (SELECT count(*) " + b + "b.z < a.k) > 1 ORDER BY k":                                                                                      "3\n4\n",
		"SELECT n, (SELECT b.z " + b + "b.x > a.x ORDER BY b.x LIMIT 1) AS z FROM 'a.csv' a ORDER BY n":                                                                                      "0,1\n1,2\n2,4\n3,\n4,5\n5,6\n6,\n",
		"SELECT n, (SELECT b.x AS v FROM 'b.csv' b ORDER BY abs(b.x - a.x), v DESC LIMIT 1) AS near FROM 'a.csv' a WHERE x IS NOT NULL ORDER BY n":                                           "0,10\n1,25\n2,25\n4,7\n5,7\n6,40\n",
		"SELECT n, (SELECT b.x " + b + "b.k = a.k ORDER BY 1 DESC LIMIT 1) AS most FROM 'a.csv' a WHERE n < 5 ORDER BY n":                                                                    "0,25\n1,25\n2,40\n3,40\n4,\n",
		"SELECT n, (SELECT b.z " + b + "b.k = a.k ORDER BY b.x LIMIT 1) AS z FROM 'a.csv' a WHERE n IN (0, 2) ORDER BY n":                                                                    "0,1\n2,\n",
		"SELECT n FROM 'a.csv' a WHERE EXISTS (SELECT 1 " + b + "a.n <> 0 AND a.x / a.n > b.x AND 10 / a.n > 0) ORDER BY n":                                                                  "1\n2\n6\n",
		"SELECT n FROM 'a.csv' a WHERE EXISTS (SELECT 1 " + b + "b.k = a.k AND a.n <> 0 AND 10 / a.n > 3) ORDER BY n":                                                                        "1\n2\n",
		"SELECT n, (SELECT b.x " + b + "b.k = a.k LIMIT 2) AS most FROM 'a.csv' a":                                                                                                           "refused",
		"SELECT (SELECT max(b.x - a.x) FROM 'b.csv' b) AS m FROM 'a.csv' a WHERE n < 2 ORDER BY n":                                                                                           "30\n20\n",
		"SELECT n FROM 'a.csv' a WHERE EXISTS (SELECT 1 " + b + "b.x > a.x AND EXISTS (SELECT 1 FROM 'b.csv' c WHERE c.z > a.y AND c.x > b.x)) ORDER BY n":                                   "4\n5\n",
		"SELECT n FROM 'a.csv' a WHERE n > 1 AND (EXISTS (SELECT 1 " + b + "b.z > a.x) OR EXISTS (SELECT 1 " + b + "b.x > a.x + 5) OR a.y < (SELECT min(z) " + b + "b.k >= a.k)) ORDER BY n": "2\n3\n4\n5\n",
		"SELECT n, CASE WHEN (SELECT bool_or(a.x < b.x) FROM 'b.csv' b) THEN 'less' END AS c FROM 'a.csv' a WHERE x >= 30 ORDER BY n":                                                        "2,less\n6,\n",
		"SELECT count(*) FROM 'a.csv' a WHERE a.x < ANY (SELECT b.x FROM 'b.csv' b WHERE b.k = a.k)":                                                                                         "3\n",
		"SELECT count(*) FROM 'a.csv' a WHERE EXISTS (SELECT 1 FROM 'b.csv' b WHERE b.k = a.k AND a.x < b.x)":                                                                                "3\n",
		"SELECT sum((SELECT count(*) " + b + "b.x > a.x)) FROM 'a.csv' a":                                                                                                                    "17\n",
		"SELECT n FROM 'a.csv' a WHERE y > (SELECT avg(y) FROM 'a.csv' o WHERE o.n <= a.n) ORDER BY n":                                                                                       "2\n6\n",
		"EXPLAIN SELECT n FROM 'a.csv' a WHERE n > 3 AND EXISTS (SELECT 1 FROM (VALUES (1), (2)) b(v) WHERE b.v > a.x AND b.v > 1)":                                                          "plan",
		"SELECT n, row_number() OVER (ORDER BY (SELECT count(*) " + b + "b.x > a.x), n) AS r FROM 'a.csv' a QUALIFY r <= 2":                                                                  "3,1\n6,2\n",
		"SELECT (SELECT count(*) " + b + "b.x > a.x) AS c, count(*) FROM 'a.csv' a GROUP BY (SELECT count(*) " + b + "b.x > a.x) HAVING count(*) > 1":                                        "refused",
		"SELECT c, count(*) FROM (SELECT (SELECT count(*) " + b + "b.x > a.x) AS c FROM 'a.csv' a) GROUP BY c HAVING count(*) > 1 ORDER BY c":                                                "0,2\n",
		"SELECT n FROM 'a.csv' a WHERE x BETWEEN (SELECT min(b.x) " + b + "b.z <= a.y) AND (SELECT max(b.x) " + b + "b.z <= a.y) ORDER BY n":                                                 "0\n2\n",
	} {
		got, err := answer(t, mapreduce.Local{}, text)
		if (want == "refused") != (err != nil) || want != "refused" && want != "plan" && got != want {
			t.Errorf("%s\ngot %q, %v\nwant %q", text, got, err, want)
		}
	}
}

// A State directory that cannot be written is refused, also by statements that keep nothing in it.
func TestStateIsChecked(t *testing.T) {
	files(t, map[string]string{"a.csv": salesOf(1, 5), "file": ""})
	for _, text := range []string{"SELECT * FROM 'a.csv'", "SELECT count(*) FROM 'a.csv'"} {
		s, err := report.Options{State: "file/state"}.Prepare(t.Context(), mapreduce.Local{}, text)
		if s != nil {
			s.Close()
		}
		if err == nil || !strings.Contains(err.Error(), "state file/state: ") || !strings.Contains(err.Error(), "choose a directory") {
			t.Errorf("%s: %v, want an error that names the directory and the way out", text, err)
		}
	}
}

// A State directory does not change the answers of subqueries that read the same files as the query
// around them, nor of those that read others, when either changes.
func TestCorrelatedState(t *testing.T) {
	files(t, map[string]string{"in/a.csv": salesOf(1, 40), "in/b.csv": salesOf(2, 30), "other.csv": salesOf(3, 20)})
	texts := []string{
		"SELECT shop, sum(price) AS s, sum((SELECT count(*) FROM 'in/*.csv' b WHERE b.price > a.price AND b.shop = a.shop)) AS n FROM 'in/*.csv' a GROUP BY shop ORDER BY shop",
		"SELECT shop, count(*) FROM 'in/*.csv' a WHERE EXISTS (SELECT 1 FROM 'other.csv' b WHERE b.amount < a.amount AND b.at <> a.at) GROUP BY shop ORDER BY shop",
		"SELECT max(price) FROM 'in/*.csv' a WHERE price NOT IN (SELECT price FROM 'in/*.csv' b WHERE b.amount > a.amount)",
	}
	for round, change := range []string{"", "", "in/b.csv", "other.csv"} {
		if change != "" {
			if err := os.WriteFile(change, []byte(salesOf(7+round, 25)), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		for _, text := range texts {
			want := plainAnswer(t, mapreduce.Local{}, text)
			if got, state := keptAnswer(t, mapreduce.Local{}, text); got != want {
				t.Errorf("round %d: %s: got\n%s\nwant\n%s (%s)", round, text, got, want, state)
			}
		}
	}
}
