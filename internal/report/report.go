// Package report has the state of jobs and workers as plain Go types. The scheduler and the
// servers fill them. The client, the command line, the status page, /api/status and the metrics
// read them. Package wire converts them to and from messages.
package report

import (
	"fmt"
	"time"

	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/plain"
)

// Outcome is the end of a job. The zero value is JobRunning.
type Outcome int

// The outcomes of a job.
const (
	JobRunning   Outcome = iota // not ended
	JobDone                     // with a result
	JobFailed                   // a task failed for good
	JobCancelled                // by a client, or because its client was away for too long
	JobPlanning                 // its client lists the input and has not submitted it
)

// String returns the outcome in the words of the status page.
func (o Outcome) String() string {
	switch o {
	case JobRunning:
		return "running"
	case JobDone:
		return "done"
	case JobFailed:
		return "failed"
	case JobCancelled:
		return "cancelled"
	case JobPlanning:
		return "planning"
	}
	return fmt.Sprintf("outcome %d", int(o))
}

// IsEnd reports whether a job with the outcome has ended.
func (o Outcome) IsEnd() bool { return o != JobRunning && o != JobPlanning }

// Options are a client's wishes beside the Spec at the submit of a job.
type Options struct {
	// Priority orders jobs: a larger number goes first, but smaller ones get turns, so that they do
	// not starve. Jobs of equal priority share the slots evenly. Zero is the default.
	Priority int
	// Interactive means that a person waits: the job goes before others of its priority and may use
	// reserved slots.
	Interactive bool
	// Tags are required: a worker must have all of them to run the job's attempts.
	Tags []string
	// Code is the hash of the job's program; empty when it needs none. A worker can run the program
	// if its platform is Platform and it has the program or accepts programs from clients.
	Code string
	// Platform is the GOOS/GOARCH of Code.
	Platform string

	// The scheduler ignores the fields below.

	// CodeSize is the size of the program in bytes.
	CodeSize int64
	// CodeLoader is the loader for the program; empty when the program is linked statically.
	CodeLoader string
	// Detached means that the job continues when its client leaves.
	Detached bool
	// Owner is the name of the submitter.
	Owner string
	// Client is the volume of files on the client's machine; empty when the job reads none.
	Client string
	// Quarantine is the file for bad records on the client's machine, HOST:PATH. It is empty when
	// the plan allows none, and when the client does not wait for the job.
	Quarantine string
	// Submitted is the time of the submit; zero when it is unknown.
	Submitted time.Time
}

// Job is the state of a job.
type Job struct {
	ID      job.ID  // as in the Spec
	Name    string  // name of the plan
	Outcome Outcome // JobRunning until the end
	// Failure is nil unless the job failed or was cancelled.
	Failure *job.Failure
	Stages  []Stage // in the order of the Spec
	Options Options // as at the submit
	// Ended is zero when the job has not ended, or when the time is unknown.
	Ended time.Time
	// Released means that the outputs of an ended job were deleted.
	Released bool
	// Reason explains to people why a running job makes no progress; empty when it does. For a job
	// in planning it is the progress.
	Reason string
	// Idle are running attempts that read no record and use no processor, the longest first.
	Idle []IdleAttempt
}

// StageName returns the name of a stage, or "" for an unknown stage.
func (j *Job) StageName(stage int) string {
	if stage < 0 || stage >= len(j.Stages) {
		return ""
	}
	return j.Stages[stage].Name
}

// IdleAttempt is an attempt that makes no progress.
type IdleAttempt struct {
	Attempt string  `json:"attempt"` // STAGE/INDEX#N
	Worker  string  `json:"worker"`  // name of its worker
	For     Seconds `json:"seconds"` // how long it makes no progress
	Stacks  string  `json:"stacks"`  // of its goroutines
}

// Stage is the state of a stage. Tasks is always the sum of Waiting, Running, Done, Failed and
// Cancelled.
type Stage struct {
	Name                                             string // name of the stage in the plan
	Tasks, Waiting, Running, Done, Failed, Cancelled int
	// Attempts counts running attempts, including speculative ones.
	Attempts int
	// FailedAttempts counts attempts that ended without output since the coordinator started.
	FailedAttempts int
	// LastFailure is one line about the last failed attempt since the coordinator started. It is
	// empty without a failure, or when all tasks are done.
	LastFailure string
	// Lost counts committed outputs that were lost and made again since the coordinator started.
	Lost int
	// Sum adds up the committed attempts, each task once.
	Sum Summary
	// Progress is the input read so far by the running attempts.
	Progress Progress
}

// Progress counts the input read by running attempts, as Records and as Bytes. Of several racing
// attempts, only the one ahead counts.
type Progress struct{ Records, Bytes int64 }

// Summary is the coordinator's extract of a manifest. Counters sums the counters of the user's code
// and, with a dot before the name, of the engine.
type Summary struct {
	Bytes    int64            `json:"bytes,omitempty"`   // stored bytes
	Records  int64            `json:"records,omitempty"` // records of all extents
	Counters map[string]int64 `json:"counters,omitempty"`
	Locality Locality         `json:"locality,omitzero"` // filled by the scheduler
}

// Locality counts attempts, and the bytes of their splits, by the distance to their input. Attempts
// with input nowhere in particular are not counted. Local counts input on the attempt's own worker,
// Zone in the same zone, Remote elsewhere; LocalBytes, ZoneBytes and RemoteBytes are the bytes.
type Locality struct {
	Local, Zone, Remote                int
	LocalBytes, ZoneBytes, RemoteBytes int64
}

// Add adds x to l.
func (l *Locality) Add(x Locality) {
	l.Local, l.Zone, l.Remote = l.Local+x.Local, l.Zone+x.Zone, l.Remote+x.Remote
	l.LocalBytes, l.ZoneBytes, l.RemoteBytes = l.LocalBytes+x.LocalBytes, l.ZoneBytes+x.ZoneBytes, l.RemoteBytes+x.RemoteBytes
}

// JobError is the error of a job that ended without a result.
type JobError struct {
	ID      job.ID      // the job's ID
	Outcome Outcome     // JobFailed or JobCancelled
	Failure job.Failure // reason of the end
}

// Error describes the end of the job, as text that is safe for screens.
func (e *JobError) Error() string {
	s := fmt.Sprintf("job %s %s: %s", e.ID, e.Outcome, e.Failure.Error())
	if e.Failure.Detail != "" {
		s += "\n" + e.Failure.Detail
	}
	return plain.Lines(s)
}

func (e *JobError) Unwrap() error { return &e.Failure }

// Submitted is the answer to a submit.
type Submitted struct {
	// Known means that the coordinator had the job before.
	Known bool
	// CodeWanted means that the coordinator accepted nothing: send the program with PutCode, then
	// submit again.
	CodeWanted bool
	// Warnings are for people.
	Warnings []string
}

// Commits is a change in the holders of a stage's outputs.
type Commits struct {
	// All means that earlier answers no longer count, as after a lost connection: only tasks in
	// this answer and later ones have an output. It is true in the first answer.
	All bool
	// Changed are the changed tasks, each with its committed attempt and the holder. Attempt number
	// zero without a worker means that the task has no output now.
	Changed []job.Producer
	// Complete means that every task has an output. No answer follows.
	Complete bool
	// Addresses are new addresses of workers, by worker name.
	Addresses map[string]string
}

// Code identifies a program by its content.
type Code struct {
	SHA256   string // of the file, in hex
	Platform string // GOOS/GOARCH
	Size     int64  // in bytes
	Dynamic  string // loader for the program; empty when it is linked statically
}

// File is a file of a dataset.
type File struct {
	Name    string    // path inside the dataset
	Size    int64     // in bytes
	ModTime time.Time // time of the last change
	Dir     bool      // it is a directory
	Holders []string  // IDs of the workers with a copy
}
