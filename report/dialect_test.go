package report_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/layshaft/layshaft/mapreduce"
)

// TestDialect runs forms that users of DuckDB and PostgreSQL type, beyond the statements of TestStatements.
func TestDialect(t *testing.T) {
	files(t, map[string]string{"p.jsonl": products, "o.csv": orders})
	for _, c := range []struct{ text, want string }{
		// names of the SELECT list
		{"SELECT price * 2 AS a, a + 1 AS b, b * 2 AS c FROM p.jsonl WHERE c > 5 AND sku = 'a1'", "3.00,4.00,8.00\n"},
		{"SELECT z FROM (SELECT {'x': {'y': stock}} AS s, s.x.y + 1 AS z FROM p.jsonl WHERE sku = 'a2')", "5\n"},
		{"SELECT brand, count(*) AS n, n * 2 AS m FROM p.jsonl GROUP BY brand HAVING m > 2", "Acme,2,4\n"},
		{"SELECT brand, count(*) AS n, rank() OVER (ORDER BY count(*) DESC, brand) AS r, brand || '!' AS b FROM p.jsonl WHERE brand IS NOT NULL GROUP BY ALL ORDER BY r", "Acme,2,1,Acme!\nBolt,1,2,Bolt!\n"},
		{"SELECT DISTINCT ON (b) lower(brand) AS b, sku FROM p.jsonl WHERE brand IS NOT NULL ORDER BY b, price DESC", "acme,a3\nbolt,a2\n"},
		{"SELECT DISTINCT ON (p.brand) p.brand, p.sku, count(*) AS n FROM p.jsonl p WHERE brand IS NOT NULL GROUP BY p.brand, p.sku ORDER BY p.brand, p.sku", "Acme,a1,1\nBolt,a2,1\n"},
		{"SELECT DISTINCT ON (2) sku, brand FROM p.jsonl WHERE brand IS NOT NULL ORDER BY 2, 1 DESC", "a3,Acme\na2,Bolt\n"},
		{"SELECT DISTINCT ON (EXISTS (SELECT 1 FROM o.csv o WHERE o.sku = p.sku)) sku FROM p.jsonl p ORDER BY EXISTS (SELECT 1 FROM o.csv o WHERE o.sku = p.sku), sku", "a2\na1\n"},

		// joins with the elements of a list
		{"SELECT sku, tag FROM p.jsonl p CROSS JOIN LATERAL unnest(p.tags) AS t(tag) ORDER BY 1, 2", "a1,x\na1,y\na3,y\n"},
		{"SELECT sku, tag FROM p.jsonl p, LATERAL unnest(tags) t(tag) WHERE tag = 'x'", "a1,x\n"},
		{"SELECT sku, tag, n FROM p.jsonl p LEFT JOIN unnest(tags) WITH ORDINALITY AS t(tag, n) ON true ORDER BY 1, 3", "a1,x,1\na1,y,2\na2,,\na3,y,1\na4,,\n"},
		{"SELECT sku FROM p.jsonl p LEFT JOIN LATERAL unnest(p.tags) AS t(tag) ON true WHERE tag IS NULL ORDER BY 1", "a2\na4\n"},
		{"SELECT sku FROM p.jsonl JOIN unnest(tags) AS t(tag) ON t.tag = 'y' ORDER BY 1", "a1\na3\n"},

		// rows in parentheses
		{"SELECT sku FROM p.jsonl WHERE (brand, stock) = ('Acme', 1)", "a3\n"},
		{"SELECT sku FROM p.jsonl WHERE (brand, stock) <> ('Acme', 1) ORDER BY 1", "a1\na2\n"},
		{"SELECT sku FROM p.jsonl WHERE (brand, stock) IN (('Acme', 2), ('Bolt', 4)) ORDER BY 1", "a1\na2\n"},
		{"SELECT sku FROM p.jsonl WHERE (brand, stock) NOT IN (('Acme', 2), ('Bolt', 4)) ORDER BY 1", "a3\n"},
		{"SELECT sku FROM p.jsonl WHERE (stock, sku) > (2, 'a1') ORDER BY 1", "a2\n"},
		{"SELECT sku FROM p.jsonl WHERE (stock, sku) >= (2, 'a1') ORDER BY 1", "a1\na2\n"},
		{"SELECT sku FROM p.jsonl WHERE (sku, stock) IN (SELECT sku, count - 3 FROM o.csv)", "a1\n"},
		{"SELECT sku FROM p.jsonl WHERE stock = 4 OR sku <> 'a3' AND (sku, stock) IN (SELECT sku, count - 3 FROM o.csv) ORDER BY 1", "a1\na2\n"},
		{"SELECT a.sku FROM p.jsonl a WHERE a.price > 0 AND EXISTS (SELECT 1 FROM o.csv b WHERE b.count < a.stock + 4 AND (b.sku, a.stock) IN (SELECT sku, count - 3 FROM o.csv))", "a1\na2\n"},
		{"SELECT brand FROM p.jsonl GROUP BY brand HAVING (brand, 2) IN (SELECT 'Acme', 2)", "Acme\n"},
		{"SELECT count(*) FILTER (WHERE (sku, stock) IN (SELECT 'a1', 2)) FROM p.jsonl", "1\n"},
		{"SELECT a.sku FROM p.jsonl a WHERE EXISTS (SELECT 1 FROM o.csv b WHERE (b.sku, b.count) = (a.sku, 1))", "a3\n"},
		{"SELECT count(DISTINCT (sku, count % 2)) FROM o.csv", "3\n"},

		// comparisons with a list
		{"SELECT sku FROM p.jsonl WHERE stock > ALL ([1, 2])", "a2\n"},
		{"SELECT sku FROM p.jsonl WHERE stock <= ANY ([1, 2]) ORDER BY 1", "a1\na3\n"},
		{"SELECT sku FROM p.jsonl WHERE 'x' = ANY (tags)", "a1\n"},
		{"SELECT sku FROM p.jsonl WHERE stock >= ALL (SELECT stock FROM p.jsonl WHERE stock IS NOT NULL)", "a2\n"},
		{"SELECT sku FROM p.jsonl WHERE stock > ANY (SELECT stock FROM p.jsonl) ORDER BY 1", "a1\na2\n"},
		{"SELECT sku, stock < ALL (SELECT count FROM o.csv WHERE count > 99), stock < ANY (SELECT count FROM o.csv WHERE count > 99), stock > ALL (SELECT stock FROM p.jsonl) FROM p.jsonl ORDER BY 1", "a1,true,false,false\na2,true,false,false\na3,true,false,false\na4,true,false,\n"},
		{"SELECT 2 = ALL (SELECT 2), 2 = ALL (SELECT range FROM range(3)), 2 <> ANY (SELECT 2), 2 <> ANY (SELECT range FROM range(3))", "true,false,false,true\n"},
		{"SELECT 3 = ANY ([1, NULL]) IS NULL, 3 <> ALL ([1, 2])", "true,true\n"},

		{"SELECT brand, json_agg(sku ORDER BY sku DESC) FILTER (WHERE price < 5) FROM p.jsonl GROUP BY brand ORDER BY 1", "Acme,\"[\"\"a1\"\"]\"\nBolt,\"[\"\"a2\"\"]\"\n,\"[\"\"a4\"\"]\"\n"},
		{"SELECT sku, (SELECT json_agg(a.stock + b.count ORDER BY b.count) FROM o.csv b WHERE b.count > a.stock + 3) AS j FROM p.jsonl a WHERE stock IS NOT NULL ORDER BY 1", "a1,\"[9,11]\"\na2,[13]\na3,\"[6,8,10]\"\n"},
		{"SELECT sku, (SELECT jsonb_agg(b.count ORDER BY b.count) FROM o.csv b WHERE b.sku = a.sku LIMIT 1) AS j FROM p.jsonl a ORDER BY 1", "a1,\"[5,7]\"\na2,\na3,[1]\na4,\n"},
		{"SELECT sku, count, json_agg(count) OVER (PARTITION BY sku ORDER BY day) AS j FROM o.csv ORDER BY 1, 2", "a1,5,[5]\na1,7,\"[5,7]\"\na3,1,[1]\nzz,9,[9]\n"},
		{"SELECT json_group_array({'n': count}) FROM o.csv WHERE count > 100", "\n"},
		{"SELECT 1 AS a, 'x' AS b UNION ALL BY NAME SELECT 'y' AS B, 2.5 AS c ORDER BY b", "1,x,\n,y,2.5\n"},
		{"SELECT 1 AS a UNION BY NAME SELECT 1 AS A", "1\n"},

		{"SELECT age(current_date - 3), age(TIMESTAMP '2024-03-01', TIMESTAMP '2024-01-31')", "3 days,1 mon 1 day\n"},
		// answers from the statistics of files
		{"COPY (SELECT sku, count, day FROM o.csv) TO 'o.parquet' (ROW_GROUP_SIZE 2)", "4\n"},
		{"EXPLAIN SELECT max(count), min(day) AS d FROM o.parquet", "\"project max AS max(count), min AS d\"\n\"  aggregate by none: max(count), min(day)\"\n\"    statistics of o.parquet: parquet, 1 file, SIZE bytes; columns: count, day\"\n"},
		{"SELECT max(count), min(day) AS d, min(count) + 1 FROM o.parquet", "9,2024-01-31,2\n"},
		{"SELECT max(count) FROM o.parquet WHERE count < 9", "7\n"},
		{"SELECT sku, max(count) FROM o.parquet GROUP BY sku ORDER BY 1", "a1,7\na3,1\nzz,9\n"},
		{"SELECT max(sku), max(count) FILTER (WHERE count < 6), count(*) FROM o.parquet", "zz,5,4\n"},

		{"SELECT * FROM range(3, 0, -1) AS t(n)", "3\n2\n1\n"},
		{"SELECT sum(range), min(range) FROM range(-2, 3)", "0,-2\n"},
		{"SELECT t.d::date, coalesce(sum(count), 0) FROM generate_series(DATE '2024-01-31', DATE '2024-02-02', INTERVAL 1 DAY) AS t(d) LEFT JOIN o.csv ON day = d::date GROUP BY 1 ORDER BY 1", "2024-01-31,5\n2024-02-01,7\n2024-02-02,0\n"},
		{"SELECT d::date FROM range(DATE '2024-03-31', DATE '2024-01-01', INTERVAL '-1 month') AS t(d)", "2024-03-31\n2024-02-29\n2024-01-29\n"},
	} {
		got, err := answer(t, mapreduce.Local{}, c.text)
		got = regexp.MustCompile(`\d+ bytes`).ReplaceAllString(got, "SIZE bytes")
		if err != nil || got != c.want {
			t.Errorf("%s\ngot %q, %v\nwant %q", c.text, got, err, c.want)
		}
	}
	double := "SELECT 1 AS a0"
	for i := range 20 {
		double += fmt.Sprintf(", a%d + a%[1]d AS a%d", i, i+1)
	}
	for text, want := range map[string]string{
		"SELECT sku FROM p.jsonl LEFT JOIN unnest(tags) AS t(tag) ON tag = 'x'": "LEFT JOIN with unnest of a column needs the condition true",
		"SELECT sku FROM p.jsonl RIGHT JOIN unnest(tags) AS t(tag) ON true":     "RIGHT JOIN with unnest of a column is not supported (the elements come from rows of the left side; write LEFT JOIN unnest(x) ON true",
		"SELECT sku FROM p.jsonl FULL JOIN unnest(tags) AS t(tag) ON tag = 'x'": "FULL JOIN with unnest of a column is not supported",
		"SELECT sku FROM p.jsonl SEMI JOIN unnest(tags) AS t(tag) ON true":      "SEMI JOIN with unnest of a column is not supported (write a condition on the list in WHERE",
		"SELECT (1, 2) = 3": "compared with a row only",
		"SELECT sku FROM p.jsonl WHERE (sku, stock) = (1, 2, 3)":                                           "a row of 2 columns is compared with a row of 3",
		"SELECT sku FROM p.jsonl WHERE (sku, stock) NOT IN (SELECT sku, count FROM o.csv)":                 "write NOT EXISTS",
		"SELECT sku FROM p.jsonl WHERE NOT (sku, stock) IN (SELECT sku, count FROM o.csv)":                 "write EXISTS (SELECT 1 FROM … WHERE a = c AND b = d), which is false where IN is NULL",
		"SELECT (sku, stock) IN (SELECT 'a4', 1) FROM p.jsonl":                                             "supported only in conditions, below AND and OR",
		"SELECT sku FROM p.jsonl WHERE stock = 1 OR ((sku, stock) IN (SELECT 'a', 1)) IS NULL":             "write EXISTS",
		"SELECT json_agg(sum(stock)) FROM p.jsonl":                                                         "sum: aggregates cannot contain aggregates",
		"SELECT sum(json_agg(stock)) FROM p.jsonl":                                                         "json_agg: aggregates cannot contain aggregates",
		"SELECT jsonb_agg(stock, sku) FROM p.jsonl":                                                        "jsonb_agg has 2 arguments, want 1 (write jsonb_agg(x))",
		"SELECT sku FROM p.jsonl a WHERE EXISTS (SELECT json_agg(count) FROM o.csv b WHERE b.sku = a.sku)": "EXISTS of an aggregate is always true",
		"SELECT (SELECT json_agg(a.stock) FROM o.csv b WHERE b.count > a.stock) FROM p.jsonl a":            "json_agg has columns of the outer query alone",
		"SELECT sku FROM p.jsonl WHERE (sku, stock) IN (SELECT sku, count, day FROM o.csv)":                "a row of 2 columns is compared with a subquery of 3",
		"SELECT sku, count FROM o.csv INTERSECT BY NAME SELECT sku, count FROM o.csv":                      "INTERSECT BY NAME is not supported",
		"SELECT a FROM (SELECT 1 AS a, 2 AS A) UNION BY NAME SELECT * FROM (SELECT 1 a, 2 a)":              "two columns \"a\"",
		"SELECT * FROM range(1, 5, 0)":                                                                     "a step other than 0",
		"SELECT * FROM range(10000000)":                                                                    "at most 1000000 rows",
		"SELECT * FROM range('a', 'b')":                                                                    "needs integers, or two times and an interval",
		"SELECT b AS a, a AS b FROM (SELECT 1 AS c)":                                                       `there is no column "b"`,
		double: "stand for one another more than 10000 times",
	} {
		if _, err := answer(t, mapreduce.Local{}, text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
	}
}
