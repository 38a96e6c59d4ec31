package report

import (
	"strings"
	"time"

	"github.com/layshaft/layshaft/internal/job"
)

// JobView is the JSON form of a job, on the command line (-o json) and at /api/status.
type JobView struct {
	Job     string `json:"job"`     // ID
	Name    string `json:"name"`    // name of the plan
	Outcome string `json:"outcome"` // planning, running, done, failed or cancelled
	// Reason explains why a running job makes no progress. For a job in planning it is the
	// progress.
	Reason string `json:"reason,omitempty"`
	// Idle are running attempts that read no record and use no processor, the longest first.
	Idle []IdleAttempt `json:"idle,omitempty"`
	// Failure and Detail are the error and its stack or log, of a job that failed or was cancelled.
	Failure string `json:"failure,omitempty"`
	Detail  string `json:"detail,omitempty"`
	Owner   string `json:"owner,omitempty"` // name of the submitter
	// Quarantine is the file with the records that the job set aside, HOST:PATH; empty if there are
	// none, or if no client has written them.
	Quarantine string `json:"quarantine,omitempty"`
	// Priority, Interactive, Detached and Tags are the options of the submit.
	Priority    int      `json:"priority"`
	Interactive bool     `json:"interactive"`
	Detached    bool     `json:"detached"`
	Tags        []string `json:"tags,omitempty"`
	// Released means that the outputs of an ended job were deleted.
	Released bool `json:"released"`
	// Submitted and Ended are nil if unknown, or before the end.
	Submitted *time.Time `json:"submitted,omitempty"`
	Ended     *time.Time `json:"ended,omitempty"`
	// Counts adds up all stages.
	Counts
	Stages []StageView `json:"stages"` // in the order of the plan
}

// Counts counts tasks by state: Waiting, Running, Done, Failed or Cancelled. Tasks is always the
// sum of these five.
type Counts struct {
	Tasks     int `json:"tasks"`
	Waiting   int `json:"waiting"`
	Running   int `json:"running"`
	Done      int `json:"done"`
	Failed    int `json:"failed"`
	Cancelled int `json:"cancelled"`
}

// Add adds the tasks of a stage.
func (c *Counts) Add(s *Stage) {
	c.Tasks += s.Tasks
	c.Waiting += s.Waiting
	c.Running += s.Running
	c.Done += s.Done
	c.Failed += s.Failed
	c.Cancelled += s.Cancelled
}

// StageView is the JSON form of a stage.
type StageView struct {
	Stage string `json:"stage"` // name in the plan
	Counts
	Attempts       int    `json:"attempts"` // running, committed and failed
	FailedAttempts int    `json:"failed_attempts"`
	LastFailure    string `json:"last_failure,omitempty"` // error of an attempt, while tasks remain
	Lost           int    `json:"lost_outputs"`           // committed outputs that were lost
	Bad            int64  `json:"bad_records"`            // records that were set aside
	// Read includes running attempts; Wrote counts committed attempts only.
	ReadRecords  int64 `json:"read_records"`
	ReadBytes    int64 `json:"read_bytes"`
	WroteRecords int64 `json:"wrote_records"`
	WroteBytes   int64 `json:"wrote_bytes"`
	// Local, Zone and Remote count committed attempts by the location of their split.
	Local    Place            `json:"local"`
	Zone     Place            `json:"zone"`
	Remote   Place            `json:"remote"`
	Counters map[string]int64 `json:"counters,omitempty"` // counters of user code, by name
}

// Place counts committed attempts by the location of their split.
type Place struct {
	Attempts int   `json:"attempts"`
	Bytes    int64 `json:"bytes"` // of the splits
}

// The engine's own counters; see package mapreduce.
const (
	recordsCounter = ".records"
	bytesCounter   = ".bytes"
)

// ViewJob returns the JSON form of a job.
func ViewJob(r *Job) JobView {
	v := JobView{Job: string(r.ID), Name: r.Name, Outcome: r.Outcome.String(), Reason: r.Reason, Idle: r.Idle, Owner: r.Options.Owner,
		Priority: r.Options.Priority, Interactive: r.Options.Interactive, Detached: r.Options.Detached, Tags: r.Options.Tags, Released: r.Released,
		Submitted: timeOrNil(r.Options.Submitted), Ended: timeOrNil(r.Ended), Stages: []StageView{}}
	if r.Failure != nil {
		v.Failure, v.Detail = r.Failure.Error(), r.Failure.Detail
	}
	for k := range r.Stages {
		st := &r.Stages[k]
		if r.Outcome == JobDone && st.Sum.Counters[job.Bad] > 0 {
			v.Quarantine = r.Options.Quarantine
		}
		v.Counts.Add(st)
		v.Stages = append(v.Stages, viewStage(st))
	}
	return v
}

func viewStage(st *Stage) StageView {
	l := &st.Sum.Locality
	v := StageView{Stage: st.Name, Attempts: st.Attempts + st.Done + st.Lost + st.FailedAttempts, FailedAttempts: st.FailedAttempts,
		LastFailure: st.LastFailure, Lost: st.Lost, Bad: st.Sum.Counters[job.Bad],
		ReadRecords: st.Sum.Counters[recordsCounter] + st.Progress.Records, ReadBytes: st.Sum.Counters[bytesCounter] + st.Progress.Bytes,
		WroteRecords: st.Sum.Records, WroteBytes: st.Sum.Bytes, Counters: map[string]int64{},
		Local: Place{l.Local, l.LocalBytes}, Zone: Place{l.Zone, l.ZoneBytes}, Remote: Place{l.Remote, l.RemoteBytes}}
	v.Counts.Add(st)
	for name, n := range st.Sum.Counters {
		if !strings.HasPrefix(name, ".") {
			v.Counters[name] = n
		}
	}
	return v
}

func timeOrNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
