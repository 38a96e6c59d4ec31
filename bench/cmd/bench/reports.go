package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/layshaft/layshaft/bench/internal/compare"
)

// query is a report: one statement that layshaft report and DuckDB both run. Both find out the
// types of the columns by themselves, and both write a CSV file.
type query struct {
	// text has {data} for the folder of the data set.
	text string
	// memory is the limit of both programs, such as 512MiB. Empty means their defaults.
	memory string
	// limit is the workload of the hand-written program that writes the same lines, or empty.
	limit string
	// dev compares a run on a local cluster with the run in one process, in place of DuckDB.
	dev bool
}

// Sums are decimals in a report. DuckDB finds floating-point numbers in text files, so its sums are
// rounded to the same decimals.
const (
	catalogReport = `SELECT category, count(*) AS n, CAST(sum(price*stock) AS decimal(18,2)) AS value, ` +
		`CAST(sum(rating) AS decimal(18,1)) AS ratings, CAST(max(price) AS decimal(12,2)) AS price, count(DISTINCT brand) AS brands ` +
		`FROM '{data}/%s' GROUP BY category`
	brandReport = `SELECT brand, count(*) AS n, CAST(sum(coalesce(o.price, p.price)*stock) AS decimal(18,2)) AS value, count(o.price) AS overridden ` +
		`FROM '{data}/jsonl/*.jsonl' p LEFT JOIN '{data}/overrides.csv' o ON p.sku = o.sku GROUP BY brand`
)

var reports = []workload{
	{name: "w2-sql", title: "catalogue report by category, from JSON lines", set: "catalog", files: []string{"jsonl/*.jsonl"},
		query: query{text: fmt.Sprintf(catalogReport, "jsonl/*.jsonl"), limit: "w2-sql"}},
	{name: "w2-sql-csv", title: "the same from CSV", set: "catalog", files: []string{"csv/*.csv"},
		query: query{text: fmt.Sprintf(catalogReport, "csv/*.csv")}},
	{name: "w2-sql-parquet", title: "the same from Parquet (zstd)", set: "catalog", files: []string{parquetFile},
		query: query{text: fmt.Sprintf(catalogReport, parquetFile)}},
	{name: "w5-sql", title: "join with price overrides, then report by brand", set: "catalog", files: []string{"overrides.csv", "jsonl/*.jsonl"},
		query: query{text: brandReport, limit: "w5-sql"}},
	{name: "groups", title: "10 million groups in 512 MiB", set: "catalog", files: []string{"jsonl/*.jsonl"},
		query: query{text: `SELECT sku, count(*) AS n, sum(stock) AS stock FROM '{data}/jsonl/*.jsonl' GROUP BY sku`, memory: "512MiB"}},
	{name: "distinct", title: "count(DISTINCT) of 10 million values in 512 MiB", set: "catalog", files: []string{"jsonl/*.jsonl"},
		query: query{text: `SELECT currency, count(DISTINCT sku) AS skus FROM '{data}/jsonl/*.jsonl' GROUP BY currency`, memory: "512MiB"}},
	{name: "sort", title: "10 million rows by price and SKU in 512 MiB", set: "catalog", files: []string{"jsonl/*.jsonl"}, output: compare.InOrder,
		query: query{text: `SELECT sku, CAST(price AS decimal(12,2)) AS price FROM '{data}/jsonl/*.jsonl' ORDER BY price DESC, sku`, memory: "512MiB"}},
	{name: "dev", title: "catalogue report on a local cluster of two workers", set: "catalog", files: []string{"jsonl/*.jsonl"},
		query: query{text: fmt.Sprintf(catalogReport, "jsonl/*.jsonl"), dev: true}},
	{name: "first-row", title: "first row of a file of 1 KB", rounds: 20,
		query: query{text: `SELECT * FROM '{data}/` + tinyFile + `' LIMIT 1`}, made: tinyProducts()},
}

// parquetFile is the name of the products as Parquet in the data set. DuckDB writes it.
const parquetFile = "products.parquet"

// tinyProducts returns a CSV file of 1 KB.
func tinyProducts() string {
	b := []byte("id,sku,brand,stock\n")
	for i := 0; len(b) < 1000; i++ {
		b = fmt.Appendf(b, "%d,SKU-%05d,brand %d,%d\n", i, 7919*i%100_000, i%7, 31*i%500)
	}
	return string(b)
}

func (q query) statement(data string) string { return strings.ReplaceAll(q.text, "{data}", data) }

// reportCommands returns the programs that answer a query, and a function that ends what they need.
func (p *programs) reportCommands(ctx context.Context, q query, data string, input input) (commands []compare.Command, stop func() error, err error) {
	command := func(name string, args ...string) {
		commands = append(commands, compare.Command{Name: name, Args: args})
	}
	if q.limit != "" {
		command(handWritten, slices.Concat([]string{p.limit, q.limit, "{out}"}, input.paths)...)
	}
	command(embedded, p.report(q, data)...)
	if q.dev {
		address, stop, err := p.startDev(ctx, data)
		command("on dev -workers 2", p.report(q, "dataset://catalog", "-cluster", address)...)
		return commands, stop, err
	}
	if p.duck != "" {
		command(duckDB, p.duck, "sql", "{out}", q.statement(data), q.memory)
	}
	return commands, func() error { return nil }, nil
}

// report returns the arguments of a report that writes CSV.
func (p *programs) report(q query, data string, flags ...string) []string {
	args := append([]string{p.layshaft, "report", "-progress", "none"}, flags...)
	if q.memory != "" {
		args = append(args, "-memory", q.memory)
	}
	return append(args, "COPY ("+q.statement(data)+") TO '{out}' (FORMAT csv)")
}

// startDev starts a local cluster of two workers with the dataset catalog, and waits until it is
// ready. The caller must call stop.
func (p *programs) startDev(ctx context.Context, data string) (address string, stop func() error, err error) {
	if address, err = freeAddress(); err != nil {
		return "", nil, err
	}
	cmd := exec.Command(p.layshaft, "dev", "-workers", "2", "-listen", address, "-http", "none", "-gossip", "127.0.0.1:0", "-log-level", "error", "-dataset", "catalog="+data)
	var logged bytes.Buffer
	cmd.Stderr = &logged
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", nil, err
	}
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	stop = func() error {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			return err
		}
		for lines := bufio.NewScanner(out); lines.Scan(); {
		}
		return cmd.Wait()
	}
	late := time.AfterFunc(time.Minute, func() { cmd.Process.Kill() })
	defer late.Stop()
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if strings.Contains(lines.Text(), "is ready") {
			return address, stop, context.Cause(ctx)
		}
	}
	return "", nil, errors.Join(fmt.Errorf("%s: not ready", cmd), cmd.Wait(), errors.New(logged.String()))
}

// freeAddress returns an address of this machine on which nothing listens.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// writeParquet writes the products of the data set as Parquet, unless the file exists.
func (p *programs) writeParquet(ctx context.Context, set string) error {
	path := filepath.Join(set, parquetFile)
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	if p.duck == "" {
		return fmt.Errorf("%s: DuckDB writes this file, and is left out: %s", path, p.noDuck)
	}
	_, err := command(ctx, "", p.duck, "parquet", path, filepath.Join(set, "jsonl/*.jsonl"))
	return err
}
