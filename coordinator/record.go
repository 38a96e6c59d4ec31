package coordinator

import (
	"github.com/layshaft/layshaft/coordinator/internal/sched"
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/report"
)

// The counters of the engine that the history of a job has; see package mapreduce.
const (
	readRecords  = ".records"
	readBytes    = ".bytes"
	spilledBytes = ".spilled"
)

// recordJob passes a job to the recorder.
func (c *Coordinator) recordJob(spec *job.Spec, opt *report.Options) {
	if c.cfg.Recorder == nil {
		return
	}
	kinds := make([]string, len(spec.Stages))
	for i := range spec.Stages {
		kinds[i] = sched.KindOf(&spec.Stages[i]).String()
	}
	c.cfg.Recorder.Submitted(spec, kinds, opt)
}

// recordRestored passes the jobs of an earlier life to the recorder, if they have not ended: their
// first chunk may be lost.
func (c *Coordinator) recordRestored() {
	if c.cfg.Recorder == nil {
		return
	}
	for _, id := range c.Jobs() {
		if st, ok := c.Status(id); ok && st.Outcome == report.JobRunning {
			spec, _ := c.Spec(id)
			c.recordJob(&spec, &st.Options)
		}
	}
}

// record passes the end of an attempt to the recorder. A dropped job has no history.
func (c *Coordinator) record(e *sched.AttemptEnded) {
	if c.cfg.Recorder == nil {
		return
	}
	if _, known := c.core.Hash(e.Attempt.Job); !known { // no lock: only this goroutine changes it
		return
	}
	s := &e.Summary
	c.cfg.Recorder.Ended(e.Attempt.Job, report.Attempt{Task: e.Attempt.Task, N: e.Attempt.N, Worker: e.Worker, Started: e.Started, Ended: e.Ended,
		End: e.End, Speculative: e.Speculative, ReadRecords: s.Counters[readRecords], ReadBytes: s.Counters[readBytes],
		WroteRecords: s.Records, WroteBytes: s.Bytes, SpilledBytes: s.Counters[spilledBytes]}, e.Failure, e.Keys)
}
