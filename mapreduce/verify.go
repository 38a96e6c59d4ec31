package mapreduce

import (
	"bytes"
	"context"
	"fmt"
	"strconv"

	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/plain"
	"github.com/layshaft/layshaft/internal/report"
)

// verifyOffset is added to the attempt numbers of the second run, so that its temporary files have
// other names.
const verifyOffset = 1 << 30

// verify runs every task again, in reverse order, and compares the outputs with the committed
// outputs.
func (j *Job) verify(ctx context.Context) error {
	e := j.engine
	notes := &verifyNotes{nodes: map[string]bool{}}
	ctx = context.WithValue(ctx, verifyKey{}, notes)
	defer func() {
		for _, text := range notes.texts {
			fmt.Fprintln(j.target.Err, plain.Lines(text))
		}
	}()
	commits := make([][]job.Producer, len(j.spec.Stages))
	for s := range commits {
		commits[s] = e.commits(s)
	}
	for s := len(commits) - 1; s >= 0; s-- {
		st := &j.spec.Stages[s]
		for i := st.Tasks - 1; i >= 0; i-- {
			first, err := e.manifest(commits[s][i])
			if err != nil {
				return err
			}
			l := job.Launch{Attempt: first.Attempt, Timeout: st.Timeout}
			l.Attempt.N += verifyOffset
			where := fmt.Sprintf("partition %d", i)
			if j.c.stages[s].head.read != nil {
				if len(st.Splits) != st.Tasks {
					return fmt.Errorf("verify: stage %d (%s) was read in %s by an earlier run, and the splits are gone; use the same -slots, or another -state", s, st.Name, report.Plural(st.Tasks, "split"))
				}
				l.Split = &st.Splits[i]
				where = l.Split.Label
			}
			for _, edge := range st.Inputs {
				l.Producers = append(l.Producers, commits[edge.From])
			}
			second, err := e.rerunTask(ctx, l)
			if err != nil {
				return fmt.Errorf("verify: stage %d (%s), %s: %w", s, st.Name, where, err)
			}
			if first.Sum != second.Sum || !sameParts(first, second) {
				return fmt.Errorf("verify: stage %d (%s), %s: the second run gave another output; a function of this stage depends on more than its input, such as the order of a map, the time, or a random number", s, st.Name, where)
			}
		}
	}
	return nil
}

// sameParts compares what two attempts wrote to sinks, except for the attempt numbers in file
// names.
func sameParts(a, b *job.Manifest) bool {
	name := func(m *job.Manifest, part []byte) []byte {
		return bytes.ReplaceAll(part, []byte("attempt-"+strconv.Itoa(m.Attempt.N)), []byte("attempt"))
	}
	if len(a.Sink) != len(b.Sink) {
		return false
	}
	for i := range a.Sink {
		if !bytes.Equal(name(a, a.Sink[i]), name(b, b.Sink[i])) {
			return false
		}
	}
	return true
}
