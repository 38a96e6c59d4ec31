package gearman

import (
	"errors"
	"time"
)

// Broker is the queue behind the connections; package desk implements it. Lock and Unlock enclose
// all calls to it and to its sessions, so that a connection can pass many packets under one lock:
// a turn. A Broker calls Peer with the lock held. It must not keep byte slices after a call,
// unless they are marked immutable; slices that it returns never change.
type Broker interface {
	Lock()
	Unlock()

	// Attach starts the session of a connection. Session.Close ends it.
	Attach(Peer) Session

	Status(id uint64) JobStatus
	// StatusUnique finds a job by its unique key, whatever its function.
	StatusUnique(unique []byte) JobStatus
	// Cancel ends a queued job with WORK_FAIL for its clients, and drops a job that has failed for
	// good. Errors: ErrNoJob.
	Cancel(id uint64) error

	// Functions calls yield for every function, in the order of names.
	Functions(yield func(FunctionStatus))
	// Jobs calls yield for at most n jobs, starting at a place, 0 at first. It returns the next
	// place, or 0 at the end. The caller may release the lock between calls; a job present
	// throughout is listed once. Jobs that have failed for good are listed while they are kept.
	Jobs(from uint64, n int, yield func(JobInfo)) (next uint64)
	// CreateFunction registers a function without workers or jobs. It fails for a name that is too
	// long and if there are too many functions.
	CreateFunction(name string) error
	// DeadJobs calls yield for at most n jobs that have failed for good and are kept.
	DeadJobs(n int, yield func(DeadJob))
	// WaitingFunctions calls yield for each function with waiting jobs, with their number and the
	// reason why the first does not start. stuck means that none can start before somebody acts.
	WaitingFunctions(yield func(name string, waiting int, stuck bool, why string))
	// DropFunction removes a function. Errors: ErrNoFunction, or ErrBusy while it has workers or
	// jobs.
	DropFunction(name string) error
	// SetLimits limits the jobs of a function: a submit fails once the function has as many jobs
	// as the limit of the submit's priority. 0 means no limit. An unknown function is created, with
	// the errors of CreateFunction.
	SetLimits(name string, jobs [3]int) error
}

// Backlogged is a Broker whose Unlock blocks while its disk, or readers outside this package, are
// behind. A loop must not wait, so it uses UnlockNow and lets only the producers wait.
type Backlogged interface {
	// UnlockNow is Unlock without the wait. It reports whether a wait is due.
	UnlockNow() (behind bool)
	// WaitForBacklog is the wait. The lock must not be held.
	WaitForBacklog()
}

// WorkerLister is a Broker with workers outside this package.
type WorkerLister interface {
	// OtherWorkers calls yield for each of them.
	OtherWorkers(yield func(name string, functions []string))
}

// Session is one connection, as a client and as a worker.
type Session interface {
	// Submit queues a job, or joins a job with the same function and unique key. If batch is not
	// 0, JOB_CREATED must wait until Peer.Durable reports that batch or a later one. Errors:
	// ErrQueueFull, ErrEnding, or an error with a text for the client.
	Submit(Submission) (id, batch uint64, err error)

	// CanDo makes the session a worker of function. A job held for longer than timeout returns to
	// the queue; 0 means no limit.
	CanDo(function []byte, timeout time.Duration)
	CantDo(function []byte)
	ResetAbilities()
	// Grab returns the next job for the session: by priority, then by age.
	Grab() (Job, bool)
	// Sleep returns true if a job waits for the session. Otherwise the next job causes one
	// Peer.Wake; Grab ends the sleep.
	Sleep() bool
	// Work passes an update to all clients of the job. Errors: ErrNoJob if the session does not
	// hold the job.
	Work(Update) error
	// Refuse ends a job as failed, without another attempt, because the worker's update of it is
	// not acceptable; why is the reason. Errors: ErrNoJob.
	Refuse(id uint64, why string) error
	// Functions calls yield for each function of the session.
	Functions(yield func(string))
	// Close returns the session's jobs to the queue and ends its waits.
	Close()
}

// Peer is the connection of a session, as the broker sees it. No method blocks.
type Peer interface {
	// Wake reports a job to a sleeping worker.
	Wake()
	// Update passes on news of a job that the peer submitted in the foreground. The last update
	// is one that ends the job.
	Update(Update)
	// Durable reports that all batches up to this number are on disk.
	Durable(batch uint64)
}

// Errors of a Broker with a code in the protocol.
var (
	ErrQueueFull  = errors.New("Job queue is full") //nolint:staticcheck // the protocol's words
	ErrNoJob      = errors.New("job not found")
	ErrNoFunction = errors.New("function not found")
	ErrBusy       = errors.New("function has workers or jobs")
	// ErrEnding means that the broker can store nothing: its process ends, or another one takes
	// over. The connection ends without an answer.
	ErrEnding = errors.New("the server ends")
)

// Priority of a job; smaller values run first.
type Priority uint8

const (
	High Priority = iota
	Normal
	Low
)

// Submission is a new job. Function is the function's name and Data its input. Unique is the
// client's key for joining equal jobs, or empty. Reducer names the function of a reduce job, or is
// empty.
type Submission struct {
	Function, Unique, Reducer, Data []byte

	// Immutable means that Data never changes, so the broker need not copy it.
	Immutable  bool
	Priority   Priority // zero means Normal
	Background bool     // no client waits for the result
	// After is the earliest start, in seconds since 1970; 0 means now.
	After int64
}

// Job is the assignment of a job to a worker. ID is the number in the job's handle. Function,
// Unique, Reducer and Data are as in Submission.
type Job struct {
	ID                        uint64
	Function, Unique, Reducer string
	Data                      []byte
}

// Update is a worker's news of a job. Kind is WorkData, WorkWarning or WorkStatus, or it ends the
// job: WorkComplete, WorkFail, WorkException.
type Update struct {
	ID   uint64 // the job, as in Job
	Kind Type
	// Data is the payload. For WorkStatus it is the numerator.
	Data        []byte
	Denominator []byte
	// Immutable means that Data never changes.
	Immutable bool
}

// Ends reports whether the update ends the job.
func (u Update) Ends() bool {
	return u.Kind == WorkComplete || u.Kind == WorkFail || u.Kind == WorkException
}

// JobStatus is the state of a job. The zero value means an unknown or finished job. Known means
// that the job has not ended; Running means that a worker runs it. Numerator and Denominator are
// its last WorkStatus, zero before the first.
type JobStatus struct {
	Known, Running         bool
	Numerator, Denominator uint32
	Waiting                int // number of waiting clients
}

// JobInfo is a job in a listing.
type JobInfo struct {
	ID      uint64 // as in Job
	Unique  string // the client's key; may be empty
	Retries int    // attempts after the first
	// Ignored means that the job will not run: it has failed for good.
	Ignored bool
	// Stored means a background job that can run.
	Stored bool
}

// DeadJob is a job that has failed for good. Attempts is the number of its attempts and Reason the
// first line of the last error; it may be empty.
type DeadJob struct {
	ID               uint64 // as in Job
	Function, Unique string // as in Submission
	Attempts         int
	Reason           string
}

// FunctionStatus counts the jobs of a function. Queued is by priority and includes delayed jobs.
type FunctionStatus struct {
	Name    string // name of the function
	Queued  [3]int
	Running int // number of running jobs
	Workers int // number of workers that can run the function
}
