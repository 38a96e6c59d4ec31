package differ

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/report"
)

// perWorld is the number of statements over the same files.
const perWorld = 250

// outcome is what became of a statement.
type outcome struct {
	kind, reason string
}

// counts has the number of statements by outcome, and an example of each.
type counts struct {
	mu      sync.Mutex
	n       map[outcome]int
	example map[outcome]string
	slowest time.Duration
	slow    string
	ours    time.Duration
	theirs  time.Duration
}

// Options are what to run.
type Options struct {
	// N is the number of statements.
	N int
	// Seed determines the files and the statements.
	Seed uint64
	// Show is the number of differences to print.
	Show int
	// World, unless negative, is the number of the only set of files to run. Its files are kept.
	World int
}

// Run runs generated statements, prints the counts, and fails if a difference is unexplained.
func Run(o Options) error {
	dir, err := os.MkdirTemp("", "differ-")
	if err != nil {
		return err
	}
	if o.World < 0 {
		defer os.RemoveAll(dir)
	}
	c := &counts{n: map[outcome]int{}, example: map[outcome]string{}}
	worlds := make(chan int)
	var failed error
	var all sync.WaitGroup
	for range 2 {
		all.Go(func() {
			for i := range worlds {
				if err := c.world(fmt.Sprintf("%s/%d", dir, i), o, i); err != nil {
					c.mu.Lock()
					failed = errors.Join(failed, err)
					c.mu.Unlock()
				}
			}
		})
	}
	for i := range (o.N + perWorld - 1) / perWorld {
		if o.World < 0 || o.World == i {
			worlds <- i
		}
	}
	close(worlds)
	all.Wait()
	return errors.Join(failed, c.print(o.Show))
}

// world makes files, and runs statements over them.
func (c *counts) world(dir string, o Options, number int) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	if o.World < 0 {
		defer os.RemoveAll(dir)
	}
	db, err := sql.Open("duckdb", "")
	if err != nil {
		return err
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	for _, s := range []string{"SET threads = 1", "SET integer_division = true", "SET default_null_order = 'nulls_last_on_asc_first_on_desc'", "SET TimeZone = 'UTC'",
		"CREATE MACRO array_text(l, s) AS CASE WHEN l IS NOT NULL THEN coalesce(array_to_string(l, s), '') END"} {
		if _, err := db.Exec(s); err != nil {
			return err
		}
	}
	r := rand.New(rand.NewPCG(o.Seed, uint64(number)))
	w, err := newWorld(dir, db, r)
	if err != nil {
		return fmt.Errorf("seed %d, world %d: %w", o.Seed, number, err)
	}
	g := &gen{w: w, r: r}
	for range min(perWorld, o.N-number*perWorld) {
		q := g.next()
		began := time.Now()
		theirs, theirErr := Theirs(db, q.theirs)
		took := time.Since(began)
		began = time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		ours, ourErr := Ours(ctx, mapreduce.Local{Slots: 1}, q.ours, q.types)
		cancel()
		c.add(q, ours, ourErr, theirs, theirErr, time.Since(began), took)
	}
	return nil
}

// Theirs returns the rows of a statement in DuckDB.
func Theirs(db *sql.DB, text string) (all [][]Cell, err error) {
	rows, err := db.Query(text)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	for rows.Next() {
		values, row := make([]any, len(names)), make([]Cell, len(names))
		to := make([]any, len(names))
		for i := range values {
			to[i] = &values[i]
		}
		if err := rows.Scan(to...); err != nil {
			return nil, err
		}
		for i, v := range values {
			row[i] = toCell(v)
		}
		all = append(all, row)
	}
	return all, rows.Err()
}

// Ours returns the rows of a statement in package report. A panic is an error.
func Ours(ctx context.Context, t mapreduce.Target, text string, types map[string]string) (all [][]Cell, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("PANIC %v", p)
		}
	}()
	s, err := report.Options{Types: types}.Prepare(ctx, t, text)
	if err != nil {
		return nil, err
	}
	for values, err := range s.Run(ctx).All() {
		if err != nil {
			return nil, err
		}
		row := make([]Cell, len(values))
		for i, v := range values {
			row[i] = toCell(v)
		}
		all = append(all, row)
	}
	return all, nil
}

// add counts the outcome of a statement.
func (c *counts) add(q query, ours [][]Cell, ourErr error, theirs [][]Cell, theirErr error, took, theirTime time.Duration) {
	var o outcome
	detail := ""
	switch {
	case ourErr != nil && (strings.Contains(ourErr.Error(), "PANIC") || errors.Is(ourErr, context.DeadlineExceeded)):
		o, detail = outcome{"DIFFERENT", "panic or time-out"}, ourErr.Error()
	case ourErr != nil && theirErr != nil:
		o = outcome{"refused by both", ""}
	case ourErr != nil:
		o, detail = outcome{"refused by us", reasonOf(refusals, q.ours, ourErr.Error())}, ourErr.Error()
	case theirErr != nil:
		o, detail = outcome{"refused by DuckDB", reasonOf(accepted, q.ours, theirErr.Error())}, theirErr.Error()
	default:
		if detail = Different(ours, theirs, q.ordered); detail == "" {
			o = outcome{"equal", ""}
		} else {
			o = outcome{"different", reasonOf(differences, q.ours, detail)}
		}
	}
	if o.reason == "" && detail != "" {
		o = outcome{"DIFFERENT", o.kind + ": " + digits.ReplaceAllString(cut(detail, 70), "#")}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n[o]++
	c.ours += took
	c.theirs += theirTime
	if took > c.slowest {
		c.slowest, c.slow = took, q.ours
	}
	if text := q.ours + "\n      " + cut(strings.ReplaceAll(detail, "\n", " "), 600); c.example[o] == "" || len(text) < len(c.example[o]) {
		c.example[o] = text
	}
}

var digits = regexp.MustCompile(`[0-9]+`)

func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return s[:n]
}

// print prints the counts.
func (c *counts) print(show int) error {
	total := map[string]int{}
	var all []outcome
	for o, n := range c.n {
		total[o.kind] += n
		all = append(all, o)
	}
	for _, kind := range []string{"equal", "refused by both", "refused by us", "refused by DuckDB", "different", "DIFFERENT"} {
		name := map[string]string{"different": "different for a listed reason", "DIFFERENT": "different"}[kind]
		if name == "" {
			name = kind
		}
		fmt.Printf("%6d %s\n", total[kind], name)
		for _, o := range all {
			if o.kind == kind && kind != "DIFFERENT" && o.reason != "" {
				fmt.Printf("       %6d %s\n", c.n[o], o.reason)
			}
		}
	}
	fmt.Printf("ours %.1f s, DuckDB %.1f s; slowest %.2f s: %s\n", c.ours.Seconds(), c.theirs.Seconds(), c.slowest.Seconds(), cut(c.slow, 300))
	slices.SortFunc(all, func(a, b outcome) int { return c.n[b] - c.n[a] })
	for _, o := range all {
		if o.kind == "DIFFERENT" && show > 0 {
			show--
			fmt.Printf("%d × %s\n      %s\n", c.n[o], o.reason, c.example[o])
		}
	}
	if n := total["DIFFERENT"]; n > 0 {
		return fmt.Errorf("%d statements differ without a reason", n)
	}
	return nil
}
