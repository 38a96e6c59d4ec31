package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"golang.org/x/term"

	"github.com/layshaft/layshaft/internal/bytesize"
	"github.com/layshaft/layshaft/internal/plain"
	"github.com/layshaft/layshaft/internal/spelling"
	"github.com/layshaft/layshaft/mapreduce"
	_ "github.com/layshaft/layshaft/mapreduce/s3io" // s3:// paths
	"github.com/layshaft/layshaft/report"
	"github.com/layshaft/layshaft/report/postgres" // FROM postgres('shop', 'products')
)

// reportCmd answers one SELECT.
type reportCmd struct {
	Output   outputFormat      `short:"o" enum:"auto,table,csv,tsv,json,jsonl,markdown,html,parquet" default:"auto" help:"Output format: table, csv, tsv, json, jsonl, markdown, html or parquet. auto is a table on a terminal, and csv elsewhere."`
	By       string            `group:"Short form" placeholder:"COLUMNS" help:"Group by these columns or expressions."`
	Agg      string            `group:"Short form" placeholder:"LIST" help:"Aggregates, such as 'count, sum(price*stock), p95(price)'. Default: count."`
	Where    string            `group:"Short form" placeholder:"CONDITION" help:"Only the rows for which the condition is true."`
	Top      int64             `group:"Short form" placeholder:"NUMBER" help:"Only the groups with the largest values of the first aggregate."`
	Types    map[string]string `mapsep:"none" placeholder:"COLUMN=TYPE" help:"Type of a column, in place of what the files suggest, such as sku=text or price=decimal(12,2). May be repeated."`
	PG       map[string]string `name:"pg" mapsep:"none" placeholder:"NAME=FILE" help:"File with the connection string of a PostgreSQL database, for FROM postgres('NAME', 'table'). May be repeated. Default: the environment variable LAYSHAFT_PG_NAME, on every worker too."`
	Schema   bool              `help:"Print the tables and the columns of the result, and run nothing."`
	Bad      int64             `placeholder:"NUMBER" help:"Number of malformed rows that are set aside. Default: the first one is an error."`
	MaxRows  int64             `placeholder:"NUMBER" help:"End with an error if the result has more rows. 0 means no limit."`
	Progress string            `enum:"auto,plain,none" default:"auto" help:"How to show progress on standard error: auto (a line on a terminal), plain (a line every five seconds) or none."`
	Explain  bool              `help:"Print the stages and what they read, and run nothing."`

	Functions bool `help:"List the functions of the dialect, and run nothing."`

	Watch     bool          `group:"State" help:"Run again when files change, and read only what changed. A table on a terminal is drawn again in place; other formats follow one another. ^C ends it."`
	State     string        `group:"State" placeholder:"DIR" help:"Keep partial aggregates of files here. The next run of the same query reads only files that changed. -explain shows which those are."`
	StateSize bytesize.Size `group:"State" placeholder:"BYTES" help:"Size of -state; what was used longest ago is removed beyond it. Default: 10GiB."`

	Memory bytesize.Size `group:"On this machine" placeholder:"BYTES" help:"Memory before data goes to disk. Default: 60 % of the machine's memory."`
	Slots  int           `group:"On this machine" placeholder:"NUMBER" help:"Number of parallel tasks. Default: one per processor."`

	Cluster string `group:"On a cluster" placeholder:"HOST:PORT" help:"Run on the workers of this coordinator; or several addresses of one cluster, separated by commas."`
	tlsFlags

	Query []string `arg:"" optional:"" help:"The query; or, with -by, -agg, -where or -top, the files. Without one, statements are read from standard input."`

	seen []string // columns of the last result
}

// Run runs the query, or reads statements from standard input.
func (c *reportCmd) Run(ctx context.Context) error {
	heapGrowth.Store(80) // a tenth less memory for a hundredth of the time
	for name, file := range c.PG {
		if err := postgres.Define(name, file); err != nil {
			return usageError{fmt.Errorf("pg %s=%s: %w", name, file, err)}
		}
	}
	if c.Functions {
		printFunctions(os.Stdout, "")
		return nil
	}
	if len(c.Query) == 0 && !c.isShort() {
		return c.runShell(ctx)
	}
	text, err := c.text()
	if err != nil {
		return usageError{err}
	}
	if c.Watch {
		return c.runWatch(ctx, text)
	}
	return c.answer(ctx, text, c.format(), os.Stdout)
}

// prepare prepares a statement.
func (c *reportCmd) prepare(ctx context.Context, text string) (*report.Statement, error) {
	o := report.Options{Types: splitTypes(c.Types), MaxBad: c.Bad, Stdin: os.Stdin, State: c.State, StateSize: int64(c.StateSize)}
	if c.Watch {
		o.Stdin = nil // it ends
	}
	return o.Prepare(ctx, c.target(), text)
}

// answer runs a statement and writes its result.
func (c *reportCmd) answer(ctx context.Context, text, format string, out io.Writer) error {
	if f, ok := out.(*os.File); ok && format == "parquet" && !c.Schema && !c.Explain && term.IsTerminal(int(f.Fd())) {
		return usageError{errors.New("parquet is not for a terminal; write -o parquet > out.parquet, or COPY (SELECT …) TO 'out.parquet'")}
	}
	s, err := c.prepare(ctx, text)
	if err != nil {
		return withCaret(err)
	}
	defer s.Close()
	c.seen = nil
	for _, col := range s.Columns() {
		c.seen = append(c.seen, col.Name)
	}
	if c.Schema {
		return c.schema(s)
	}
	if c.Explain {
		for _, explain := range []func(context.Context) ([]string, error){s.Reads, s.State} {
			lines, err := explain(ctx)
			if err != nil {
				return err
			}
			for _, line := range lines {
				fmt.Fprintln(out, plain.Text(line))
			}
		}
		for _, err := range s.Run(ctx).All() {
			if err != nil {
				return withCaret(err)
			}
		}
		return nil
	}
	err = s.Run(ctx).Write(out, format, report.WriteOptions{Width: terminalWidth(), MaxRows: c.MaxRows})
	return withCaret(err)
}

// printFunctions lists the functions of the dialect whose names contain part, by kind.
func printFunctions(out io.Writer, part string) {
	names := map[string][]string{}
	for _, f := range report.Functions() {
		if !strings.Contains(f.Name, strings.ToLower(part)) {
			continue
		}
		if f.Approximate {
			f.Name += "~"
		}
		names[f.Kind] = append(names[f.Kind], f.Name)
	}
	for _, kind := range []string{"aggregate", "window", "scalar"} {
		if len(names[kind]) > 0 {
			fmt.Fprintf(out, "%s: %s\n", kind, strings.Join(names[kind], " "))
		}
	}
	fmt.Fprintln(out, "~ is approximate, within 1 % for quantiles; quantile_cont, median and count(DISTINCT x) are exact")
}

// isShort reports whether the short form is used.
func (c *reportCmd) isShort() bool { return c.By != "" || c.Agg != "" || c.Where != "" || c.Top != 0 }

// text returns the statement: the query, or what the short form stands for.
func (c *reportCmd) text() (string, error) {
	switch {
	case len(c.Query) == 0 && c.isShort():
		return "", errors.New("the files are missing, as in: layshaft report -by brand 'catalog/*.jsonl'")
	case len(c.Query) == 0:
		return "", errors.New(`the query is missing, as in: layshaft report "SELECT count(*) FROM 'catalog/*.jsonl'"`)
	case c.isShort():
		return report.Short{By: c.By, Aggregates: c.Agg, Where: c.Where, Top: c.Top, Paths: c.Query}.Statement()
	case len(c.Query) > 1:
		return "", fmt.Errorf("%d arguments were given; put the query in quotes", len(c.Query))
	case isPath(c.Query[0]):
		return "", fmt.Errorf(`%s is a file and no query; write: layshaft report "SELECT * FROM '%[1]s'"`, c.Query[0])
	}
	return c.Query[0], nil
}

// outputFormat is the name of an output format.
type outputFormat string

// UnmarshalText refuses formats that are not known, and names the way to what they mean.
func (f *outputFormat) UnmarshalText(text []byte) error {
	*f = outputFormat(text)
	formats := append([]string{"auto"}, report.Formats()...)
	if slices.Contains(formats, string(text)) {
		return nil
	}
	return errors.New(formatHint(string(text), formats))
}

// formatHint returns what to write in place of an unknown output format.
func formatHint(name string, formats []string) string {
	meant := map[string]string{"md": "markdown", "gfm": "markdown", "htm": "html", "ndjson": "jsonl", "json-lines": "jsonl", "jsonlines": "jsonl", "tab": "tsv", "text": "table", "txt": "table", "box": "table"}
	switch lower := strings.ToLower(name); {
	case meant[lower] != "":
		return fmt.Sprintf("%q is called %s here: write -o %[2]s", name, meant[lower])
	case slices.Contains(formats, lower):
		return fmt.Sprintf("format %q is not known; write -o %s", name, lower)
	case lower == "avro" || lower == "xlsx" || lower == "excel":
		return fmt.Sprintf("%s is not written; -o csv opens in every spreadsheet, and COPY (SELECT …) TO 'out.parquet' keeps the types", lower)
	}
	return fmt.Sprintf("format %q is not known; use %s", name, strings.Join(spelling.Sort(name, formats), ", "))
}

// isPath reports whether an argument is a path and no query.
func isPath(arg string) bool {
	if strings.ContainsAny(arg, " \t\n'\"") {
		return false
	}
	_, err := os.Stat(arg)
	return err == nil || strings.ContainsAny(arg, "/*.")
}

// splitTypes splits values such as text,price=decimal(12,2), which give types to several columns.
func splitTypes(types map[string]string) map[string]string {
	all := map[string]string{}
	for name, rest := range types {
		depth, start := 0, 0
		for i, c := range rest + "," {
			switch {
			case c == '(':
				depth++
			case c == ')':
				depth--
			case c == ',' && depth <= 0:
				if start > 0 {
					if next, typ, ok := strings.Cut(rest[start:i], "="); ok {
						all[strings.TrimSpace(next)] = typ
					} else {
						all[name] += "," + rest[start:i] // an error of the type
					}
				} else {
					all[name] = rest[:i]
				}
				start = i + 1
			}
		}
	}
	return all
}

// target returns where the query runs.
func (c *reportCmd) target() mapreduce.Target {
	r := mapreduce.Reporting{Progress: c.Progress, Explain: c.Explain}
	if r.Progress == "plain" {
		r.Progress = "lines"
	}
	if r.Progress == "auto" {
		r.Progress = "brief"
		if term.IsTerminal(int(os.Stdout.Fd())) && c.format() != "table" {
			r.Progress = "none" // rows arrive on the same terminal during the run
		}
	}
	if c.Cluster != "" {
		return mapreduce.Cluster{Address: c.Cluster, Interactive: true, Reporting: r, TLS: mapreduce.TLSFiles{CA: c.TLSCA, Cert: c.TLSCert, Key: c.TLSKey}}
	}
	return mapreduce.Local{Memory: int64(c.Memory), Slots: c.Slots, Reporting: r}
}

// format returns the output format.
func (c *reportCmd) format() string {
	if c.Output != "auto" {
		return string(c.Output)
	}
	if term.IsTerminal(int(os.Stdout.Fd())) {
		return "table"
	}
	return "csv"
}

// terminalWidth returns the width of the terminal, 0 if standard output is none.
func terminalWidth() int {
	if w, _, err := term.GetSize(int(os.Stdout.Fd())); err == nil {
		return w
	}
	return 0
}

// schema prints the tables and the columns of the result.
func (c *reportCmd) schema(s *report.Statement) error {
	for _, t := range s.Tables() {
		fmt.Println(plain.Text(t))
	}
	fmt.Println()
	for _, col := range s.Columns() {
		fmt.Println(plain.Text(fmt.Sprint(col.Name, " ", col.Type)))
	}
	return nil
}

// withCaret shows the place of an error of the statement. In an error of the data it names the flag
// where the engine names its function.
func withCaret(err error) error {
	var e *report.Error
	if errors.As(err, &e) {
		return usageError{errors.New(strings.TrimRight(e.Render(), "\n"))}
	}
	if err == nil {
		return nil
	}
	text := strings.ReplaceAll(err.Error(), "mapreduce.MaxBad lets a job tolerate bad records", "-bad NUMBER sets such rows aside")
	if text == err.Error() {
		return err
	}
	return flagError{text, err}
}

// flagError is an error in the words of the command line.
type flagError struct {
	text string
	error
}

func (e flagError) Error() string { return e.text }
func (e flagError) Unwrap() error { return e.error }
