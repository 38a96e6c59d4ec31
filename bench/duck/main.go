// Command duck does the benchmark workloads in DuckDB, an embedded analytical database, through its
// Go module. It needs a C compiler, and so it is a module of its own.
//
//	duck w1 OUT FILES...             count words
//	duck w2 OUT FILES...             catalogue report by category
//	duck w3 OUT FILES...             sort lines
//	duck w5 OUT OVERRIDES FILES...   join with price overrides, then report by brand
//	duck chain|skewjoin|countdistinct|repeats|w2-csv|w2-parquet OUT FILES...   as command pipelines
//	duck sql OUT STATEMENT MEMORY    the rows of a statement as CSV; no limit of memory if it is empty
//	duck parquet OUT FILES...        products as Parquet
//	duck diff [-n 20000] [-seed 1]   run generated statements in package report, too, and compare
//	duck tpch [-scale 0.1]           the same for seven queries of TPC-H
//	duck clickbench [-scale 1]       the same for the queries of ClickBench
//
// OUT becomes a file. The files decide by their names how w2 and w5 read them: .jsonl, .csv or
// .parquet. GOMAXPROCS sets the number of threads, and TMPDIR where the database puts what exceeds
// its memory. $DUCK_MEMORY limits its memory.
package main

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	_ "github.com/duckdb/duckdb-go/v2"
)

func main() {
	check(os.Args[1:])
	if len(os.Args) < 4 || queries[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "duck: usage: duck w1|w2|w3|w5|parquet OUT [OVERRIDES] FILES..., or duck sql OUT STATEMENT MEMORY")
		os.Exit(2)
	}
	if err := run(queries[os.Args[1]](os.Args[3:]), os.Args[2]); err != nil {
		fmt.Fprintf(os.Stderr, "duck: %s: %v\n", os.Args[1], err)
		os.Exit(1)
	}
}

// run writes the result of a query to a file.
func run(q query, out string) error {
	db, err := sql.Open("duckdb", "")
	if err != nil {
		return err
	}
	defer db.Close()
	db.SetMaxOpenConns(1) // settings are for one connection
	for _, statement := range append(q.settings,
		fmt.Sprintf("SET threads = %d", runtime.GOMAXPROCS(0)),
		"SET preserve_insertion_order = false",
		memoryLimit(),
		"SET temp_directory = "+quote(filepath.Join(os.TempDir(), "duckdb")),
		fmt.Sprintf("COPY (%s) TO %s (%s)", q.text, quote(out), q.format),
	) {
		if _, err := db.Exec(statement); err != nil {
			return err
		}
	}
	return nil
}

// memoryLimit returns the statement that sets the limit in $DUCK_MEMORY, such as 512MiB.
func memoryLimit() string {
	if limit := os.Getenv("DUCK_MEMORY"); limit != "" {
		return "SET memory_limit = " + quote(limit)
	}
	return "SELECT 1"
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

func list(paths []string) string {
	quoted := make([]string, len(paths))
	for i, path := range paths {
		quoted[i] = quote(path)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}
