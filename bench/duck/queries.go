package main

import (
	"fmt"
	"path/filepath"
)

// query is a statement whose rows become a file.
type query struct {
	text     string
	format   string   // options of COPY
	settings []string // statements that come first
}

// tabs writes tab-separated columns without quotes.
const tabs = `FORMAT csv, HEADER false, DELIMITER E'\t', QUOTE ''`

// queries builds the query of a workload from its arguments.
var queries = map[string]func(args []string) query{
	"w1": tabbed(w1), "w2": tabbed(w2), "w3": tabbed(w3), "w5": tabbed(w5), "w2-csv": tabbed(w2), "w2-parquet": tabbed(w2),
	"chain": tabbed(chain), "skewjoin": tabbed(skewJoin), "countdistinct": tabbed(countDistinct), "repeats": tabbed(repeats),
	"sql": func(args []string) query {
		q := query{text: args[0], format: "FORMAT csv"}
		if args[1] != "" {
			q.settings = []string{"SET memory_limit = " + quote(args[1])}
		}
		return q
	},
	"parquet": func(args []string) query {
		return query{text: fmt.Sprintf(`SELECT id, sku, title, brand, category, CAST(price AS DECIMAL(12,2)) AS price, currency, stock,
			CAST(rating AS DECIMAL(3,1)) AS rating, updated_at FROM read_json_auto(%s)`, list(args)), format: "FORMAT parquet, COMPRESSION zstd"}
	},
}

func tabbed(text func(paths []string) string) func(paths []string) query {
	return func(paths []string) query { return query{text: text(paths), format: tabs} }
}

// lines reads text as a table with one column l: as CSV with a separator that occurs in no line.
func lines(paths []string) string {
	return fmt.Sprintf(`read_csv(%s, header=false, columns={'l': 'VARCHAR'}, delim='\x01', quote='', escape='', auto_detect=false)`, list(paths))
}

func products(paths []string) string {
	switch files := list(paths); filepath.Ext(paths[0]) {
	case ".parquet":
		return fmt.Sprintf("read_parquet(%s)", files)
	case ".csv":
		return fmt.Sprintf("read_csv(%s, header=true)", files)
	default:
		return fmt.Sprintf(`read_json(%s, format='newline_delimited', columns={sku: 'VARCHAR', brand: 'VARCHAR',
			category: 'VARCHAR', price: 'DECIMAL(12,2)', stock: 'INTEGER', rating: 'DECIMAL(3,1)'})`, files)
	}
}

func w1(paths []string) string {
	return fmt.Sprintf(`SELECT w, count(*)
		FROM (SELECT unnest(string_split(l, ' ')) AS w FROM %s)
		WHERE w <> ''
		GROUP BY w`, lines(paths))
}

func w2(paths []string) string {
	return fmt.Sprintf(`SELECT category, count(*), sum((price * 100)::BIGINT * stock)::BIGINT, sum((rating * 10)::BIGINT)::BIGINT,
			max((price * 100)::BIGINT), count(DISTINCT brand)
		FROM %s
		GROUP BY category`, products(paths))
}

func w3(paths []string) string {
	return fmt.Sprintf("SELECT l FROM %s ORDER BY l", lines(paths))
}

func w5(paths []string) string {
	return fmt.Sprintf(`SELECT brand, count(*), sum((coalesce(o.price, p.price) * 100)::BIGINT * stock)::BIGINT, count(o.price)
		FROM %s p
		LEFT JOIN read_csv(%s, header=true, columns={'sku': 'VARCHAR', 'price': 'DECIMAL(12,2)'}) o USING (sku)
		GROUP BY brand`, products(paths[1:]), quote(paths[0]))
}

func events(paths []string) string {
	return fmt.Sprintf("read_csv(%s, header=true, columns={'id': 'BIGINT', 'user': 'BIGINT', 'amount': 'BIGINT'})", list(paths))
}

func chain(paths []string) string {
	text := "SELECT id AS k, amount AS v FROM " + events(paths)
	for i := range 8 {
		text = fmt.Sprintf("SELECT (k * 48271 + %d) %% 15485863 AS k, sum(v)::BIGINT AS v FROM (%s) GROUP BY 1", i, text)
	}
	return "SELECT k % 1000, sum(v)::BIGINT FROM (" + text + ") GROUP BY 1"
}

func skewJoin(paths []string) string {
	return fmt.Sprintf(`SELECT country, count(*), sum(amount)::BIGINT
		FROM %s JOIN read_csv(%s, header=true, columns={'user': 'BIGINT', 'country': 'VARCHAR'}) USING ("user")
		GROUP BY country`, events(paths[1:]), quote(paths[0]))
}

func countDistinct(paths []string) string {
	return "SELECT count(DISTINCT id) FROM " + events(paths)
}

func repeats(paths []string) string {
	return fmt.Sprintf("SELECT n, count(*) FROM (SELECT l, count(*) AS n FROM %s GROUP BY l) GROUP BY n", lines(paths))
}
