package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/layshaft/layshaft/internal/client"
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/plain"
	"github.com/layshaft/layshaft/internal/report"
)

// jobLogsCmd shows what user code of a job wrote.
type jobLogsCmd struct {
	clientFlags
	// Follow waits for further lines.
	Follow bool `short:"f" help:"Wait for more lines until the job ends."`
	// Attempt selects a stage, a task or an attempt; see report.Line.By.
	Attempt string `placeholder:"STAGE[/TASK[#N]]" help:"Only the lines of a stage, such as 0, of a task, such as 0/17, or of an attempt, such as 0/17#2. Default: all."`
	// Tail limits the lines; zero means no limit.
	Tail int    `placeholder:"LINES" help:"Only so many of the latest lines; 0 means all."`
	ID   string `arg:"" help:"ID of the job, or a prefix of it."`
}

const (
	followEvery = 500 * time.Millisecond // interval of -f
	// lastLines is how long lines may take from user code to the coordinator after a job has ended.
	lastLines = time.Second
)

// Run shows the lines.
func (c *jobLogsCmd) Run(ctx context.Context) error {
	if c.Tail < 0 {
		return usageError{fmt.Errorf("-tail %d must not be negative", c.Tail)}
	}
	return c.withJob(ctx, c.ID, func(client *client.Client, st report.Job) error {
		lines, err := client.Output(ctx, st.ID, 0)
		if err != nil {
			return err
		}
		shown := matching(lines, c.Attempt)
		if c.Tail > 0 {
			shown = shown[max(0, len(shown)-c.Tail):]
		}
		if err := c.write(shown); err != nil {
			return err
		}
		if c.Follow {
			return c.follow(ctx, client, st, lines)
		}
		if len(shown) == 0 && c.Output != "json" {
			fmt.Fprintln(os.Stderr, noLines(st.ID, len(lines), c.Attempt))
		}
		return nil
	})
}

// noLines explains an empty answer.
func noLines(id job.ID, all int, attempt string) string {
	if all > 0 {
		return fmt.Sprintf("no line of %s; the job wrote %s", attempt, report.Plural(all, "line"))
	}
	return fmt.Sprintf("job %s has written no line to standard output, standard error or its log", id)
}

// follow writes further lines until the job has ended.
func (c *jobLogsCmd) follow(ctx context.Context, client *client.Client, st report.Job, lines []report.Line) error {
	last, ended := int64(0), time.Time{}
	for {
		if len(lines) > 0 {
			last = lines[len(lines)-1].Number
		}
		if st.Outcome.IsEnd() && ended.IsZero() {
			ended = time.Now()
		}
		if !ended.IsZero() && time.Since(ended) > lastLines {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(followEvery):
		}
		var err error
		if st, err = client.Status(ctx, st.ID); err != nil {
			return err
		}
		if lines, err = client.Output(ctx, st.ID, last); err != nil {
			return err
		}
		if err := c.write(matching(lines, c.Attempt)); err != nil {
			return err
		}
	}
}

func matching(lines []report.Line, of string) []report.Line {
	if of == "" {
		return lines
	}
	var some []report.Line
	for i := range lines {
		if lines[i].By(of) {
			some = append(some, lines[i])
		}
	}
	return some
}

func (c *jobLogsCmd) write(lines []report.Line) error {
	if c.Output != "json" {
		return writeLines(os.Stdout, lines)
	}
	var b bytes.Buffer
	to := json.NewEncoder(&b)
	for i := range lines {
		if err := to.Encode(plain.JSON(&lines[i])); err != nil {
			return err
		}
	}
	_, err := os.Stdout.Write(plain.EncodedJSON(b.Bytes()))
	return err
}

// writeLines writes lines for people: time, worker, attempt and text.
func writeLines(w io.Writer, lines []report.Line) error {
	b := bufio.NewWriter(w)
	for i := range lines {
		l := &lines[i]
		if l.Omitted > 0 {
			fmt.Fprintf(b, "… %s of %s not kept: too many at once, or too old\n", report.Plural(l.Omitted, "line"), plain.Text(l.Worker))
		}
		fmt.Fprintf(b, "%s %s %s  %s\n", l.At.Format("15:04:05.000"), plain.Text(l.Worker), plain.Text(l.Writer()), strings.ReplaceAll(plain.Lines(l.Text), "\n", "\n  "))
	}
	return b.Flush()
}
