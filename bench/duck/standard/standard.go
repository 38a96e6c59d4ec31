// Package standard runs the queries of TPC-H and of ClickBench that package report can answer, in
// package report and in DuckDB, over the same generated Parquet files.
package standard

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/layshaft/layshaft/bench/duck/differ"
	"github.com/layshaft/layshaft/mapreduce"
)

// Options are what to run.
type Options struct {
	// Scale is the scale factor of TPC-H, or the number of million rows of ClickBench.
	Scale float64
	// Rounds is the number of runs of each query; the median counts.
	Rounds int
	// Only, if set, is the name of the only query to run.
	Only string
}

// query is a query with its name. Tables stand in braces: {lineitem}.
type query struct{ name, text string }

// suite is a set of tables and queries.
type suite struct {
	// tables are the statements that select the rows of each table. %d is a number of rows.
	tables []tableOf
	list   []query
}

type tableOf struct {
	name, rows string
}

// run writes the tables of a suite as Parquet, and runs its queries.
func (s suite) run(o Options) error {
	dir, err := os.MkdirTemp("", "standard-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	db, err := sql.Open("duckdb", "")
	if err != nil {
		return err
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	setup := []string{
		fmt.Sprintf("SET threads = %d", runtime.GOMAXPROCS(0)),
		"SET default_null_order = 'nulls_last_on_asc_first_on_desc'",
		"SET TimeZone = 'UTC'",
		"CREATE MACRO r(i, k, n) AS (hash(i * 1000 + k) % n)::BIGINT", // a number below n
		"CREATE MACRO one(i, k, l) AS l[1 + r(i, k, len(l))]",         // an element of a list
	}
	for _, t := range s.tables {
		setup = append(setup, fmt.Sprintf("COPY (%s) TO '%s' (FORMAT parquet, COMPRESSION zstd)", t.rows, filepath.Join(dir, t.name+".parquet")))
	}
	for _, text := range setup {
		if _, err := db.Exec(text); err != nil {
			return fmt.Errorf("%s: %w", text, err)
		}
	}
	bad := 0
	fmt.Printf("%-6s %-10s %8s %8s %6s\n", "query", "result", "ours, s", "DuckDB", "ratio")
	for _, q := range s.list {
		if o.Only != "" && q.name != o.Only {
			continue
		}
		text := q.text
		for _, t := range s.tables {
			text = strings.ReplaceAll(text, "{"+t.name+"}", fmt.Sprintf("'%s' AS %s", filepath.Join(dir, t.name+".parquet"), t.name))
		}
		result, detail := "equal", ""
		all := limit.ReplaceAllString(text, "") // which of equal rows LIMIT keeps is open
		theirs, err := differ.Theirs(db, all)
		if err != nil {
			return fmt.Errorf("%s: %w", q.name, err)
		}
		ours, err := differ.Ours(context.Background(), mapreduce.Local{}, all, nil)
		if err != nil {
			result, detail = "refused", err.Error()
		} else if detail = differ.Different(ours, theirs, false); detail != "" {
			result = "DIFFERENT"
		}
		if result != "equal" {
			bad++
		}
		var our, their []float64
		for range o.Rounds {
			began := time.Now()
			_, err := differ.Ours(context.Background(), mapreduce.Local{}, text, nil)
			our = append(our, time.Since(began).Seconds())
			if err != nil && result == "equal" {
				return fmt.Errorf("%s: %w", q.name, err)
			}
			began = time.Now()
			if _, err := differ.Theirs(db, text); err != nil {
				return fmt.Errorf("%s: %w", q.name, err)
			}
			their = append(their, time.Since(began).Seconds())
		}
		slices.Sort(our)
		slices.Sort(their)
		mine, duck := our[len(our)/2], their[len(their)/2]
		fmt.Printf("%-6s %-10s %8.3f %8.3f %6.2f  %s\n", q.name, result, mine, duck, mine/duck, detail)
	}
	if bad > 0 {
		return fmt.Errorf("%d queries differ or are refused", bad)
	}
	return nil
}

var limit = regexp.MustCompile(`\s+LIMIT [0-9]+( OFFSET [0-9]+)?$`)
