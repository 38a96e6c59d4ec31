package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/layshaft/layshaft/internal/client"
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/plain"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/tasks"
)

// envPrefix begins the variable of each flag.
const envPrefix = "LAYSHAFT_"

// jobRequeueCmd runs the records that a job set aside once more.
type jobRequeueCmd struct {
	clientFlags
	File    string   `placeholder:"FILE" help:"The quarantine file of the job; default the one that the job names. Records that are bad again stay in it."`
	ID      string   `arg:"" help:"ID of the finished job, or a prefix of it."`
	Command []string `arg:"" help:"The repaired program, which has the flags of mapreduce.Flags, and its arguments, after --."`
}

// Run runs the program with the records of the file.
func (c *jobRequeueCmd) Run(ctx context.Context) error {
	if _, err := exec.LookPath(c.Command[0]); err != nil {
		return usageError{fmt.Errorf("%w; name the program by its path, such as ./report", err)}
	}
	if c.File != "" {
		if _, err := os.Stat(c.File); err != nil {
			return usageError{err}
		}
	}
	return c.withJob(ctx, c.ID, func(_ *client.Client, st report.Job) error {
		switch st.Outcome {
		case report.JobDone:
		case report.JobRunning, report.JobPlanning:
			return fmt.Errorf("job %s still runs; wait for its end with: layshaft job wait %s", st.ID, st.ID)
		default:
			return fmt.Errorf("job %s is %s, so it has no output to which records could be added; run it as a whole", st.ID, st.Outcome)
		}
		if c.File == "" {
			var err error
			if c.File, err = findQuarantine(&st); err != nil {
				return err
			}
		}
		before, err := os.Stat(c.File)
		if err != nil {
			return err
		}
		n, err := countSetAside(c.File, st.ID)
		if err != nil {
			return err
		}
		if n == 0 {
			fmt.Fprintf(os.Stderr, "%s has no records, so nothing runs\n", plain.Text(c.File))
			return nil
		}
		fmt.Fprintf(os.Stderr, "running %s of job %s again\n", report.Plural(n, "record"), st.ID)
		cmd := exec.CommandContext(ctx, c.Command[0], c.Command[1:]...)
		cmd.Env = os.Environ()
		// The flags of the program take their defaults from these variables.
		for _, f := range []struct{ flag, value string }{
			{"REQUEUE", c.File}, {"CLUSTER", c.Cluster}, {"TLS_CA", c.TLSCA}, {"TLS_CERT", c.TLSCert}, {"TLS_KEY", c.TLSKey},
		} {
			if f.value != "" {
				cmd.Env = append(cmd.Env, envPrefix+f.flag+"="+f.value)
			}
		}
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
		err = cmd.Run()
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			return fmt.Errorf("%w: the program ended with %s; %s has the records that are not in the output", tasks.ErrFailed, exit, plain.Text(c.File))
		}
		if err != nil {
			return err
		}
		after, err := os.Stat(c.File)
		if err == nil && os.SameFile(before, after) && after.Size() == before.Size() {
			return fmt.Errorf("%w: the program ended and did not take the records: it must run a pipeline with a target of mapreduce.Flags, and not set -requeue or -quarantine itself", tasks.ErrFailed)
		}
		return err
	})
}

// findQuarantine returns the path of the quarantine file that a job names.
func findQuarantine(st *report.Job) (string, error) {
	v := report.ViewJob(st)
	if v.Quarantine == "" {
		return "", fmt.Errorf("job %s names no quarantine file: it set no records aside, or its client did not wait for its end; if there is a file, name it with -file", st.ID)
	}
	host, path, _ := strings.Cut(v.Quarantine, ":")
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("the quarantine file of job %s is not here: %w; it was written on %s, so copy it from there and name it with -file", st.ID, err, plain.Text(host))
	}
	return path, nil
}

// countSetAside returns the number of records in a quarantine file. All must be of one job.
func countSetAside(path string, id job.ID) (n int, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, len(text)+1)
	for lines.Scan() {
		var line struct {
			Job job.ID `json:"job"`
		}
		n++
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			return 0, fmt.Errorf("%s:%d is no line of a quarantine file: %w", path, n, err)
		}
		if line.Job != "" && line.Job != id {
			return 0, fmt.Errorf("%s has records of job %s, not of job %s", path, line.Job, id)
		}
	}
	return n, lines.Err()
}
