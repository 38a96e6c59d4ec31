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
	"syscall"
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
	// Dir, if set, is a directory that keeps the tables. Tables that are there are not made again.
	Dir string
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
	dir := o.Dir
	if dir == "" {
		var err error
		if dir, err = os.MkdirTemp("", "standard-"); err != nil {
			return err
		}
		defer os.RemoveAll(dir)
	}
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
		path := filepath.Join(dir, t.name+".parquet")
		if _, err := os.Stat(path); err != nil {
			setup = append(setup, fmt.Sprintf("COPY (%s) TO '%s' (FORMAT parquet, COMPRESSION zstd)", t.rows, path))
		}
	}
	for _, text := range setup {
		if _, err := db.Exec(text); err != nil {
			return fmt.Errorf("%s: %w", text, err)
		}
	}
	bad := 0
	fmt.Printf("%-6s %-10s %8s %8s %6s %8s %8s %6s\n", "query", "result", "wall, s", "DuckDB", "ratio", "CPU, s", "DuckDB", "ratio")
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
		var our, their cost
		for range o.Rounds {
			err := our.add(func() error {
				_, err := differ.Ours(context.Background(), mapreduce.Local{}, text, nil)
				return err
			})
			if err != nil && result == "equal" {
				return fmt.Errorf("%s: %w", q.name, err)
			}
			err = their.add(func() error {
				_, err := differ.Theirs(db, text)
				return err
			})
			if err != nil {
				return fmt.Errorf("%s: %w", q.name, err)
			}
		}
		wall, cpu := our.medians()
		theirWall, theirCPU := their.medians()
		fmt.Printf("%-6s %-10s %8.3f %8.3f %6.2f %8.3f %8.3f %6.2f  %s\n", q.name, result, wall, theirWall, wall/theirWall, cpu, theirCPU, cpu/theirCPU, detail)
	}
	if bad > 0 {
		return fmt.Errorf("%d queries differ or are refused", bad)
	}
	return nil
}

// cost is what the runs of a query took, in seconds.
type cost struct{ wall, cpu []float64 }

// add runs a query and adds its cost. The other system must be idle.
func (c *cost) add(run func() error) error {
	began, cpu := time.Now(), processorTime()
	err := run()
	c.wall, c.cpu = append(c.wall, time.Since(began).Seconds()), append(c.cpu, processorTime()-cpu)
	return err
}

func (c *cost) medians() (wall, cpu float64) {
	slices.Sort(c.wall)
	slices.Sort(c.cpu)
	return c.wall[len(c.wall)/2], c.cpu[len(c.cpu)/2]
}

// processorTime returns the processor time of this process in seconds.
func processorTime() float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

var limit = regexp.MustCompile(`\s+LIMIT [0-9]+( OFFSET [0-9]+)?$`)
