package gearman

import (
	"errors"
	"time"
)

// A Broker is the queue behind the connections. Lock and Unlock enclose every other call to it and to its sessions, so that a
// connection can hand in a whole batch of packets under one lock. It calls the methods of Peer with the lock held. Slices that
// it is given are valid during the call only, except where said; those that it returns never change.
type Broker interface {
	Lock()
	Unlock()

	// Attach registers a connection. The session ends with its Close.
	Attach(Peer) Session

	Status(id uint64) JobStatus
	// StatusUnique finds a job by its unique key, whatever its function.
	StatusUnique(unique []byte) JobStatus
	// Cancel ends a job that is queued; those who wait for it are told that it failed. Errors: ErrNoJob.
	Cancel(id uint64) error

	// Functions calls yield for every function, in the order of their names.
	Functions(yield func(FunctionStatus))
	// Jobs calls yield for at most n jobs from a place on, 0 at first, and returns where to go on, 0 at the end. The caller may release
	// the lock between the slices: a job that is there all the time is listed once.
	Jobs(from uint64, n int, yield func(JobInfo)) (next uint64)
	CreateFunction(name string)
	// DropFunction forgets a function. Errors: ErrNoFunction, ErrBusy while it has workers or jobs.
	DropFunction(name string) error
	// Limit refuses submits while the function has as many jobs; one limit per priority, 0 for none. Unknown functions are ignored.
	SetLimits(name string, jobs [3]int)
}

// Backlogged is a Broker that may be given more than it can store, or than those take who wait for jobs in other ways than through this package. What it
// has beyond Broker spares those who give it nothing the wait: its Unlock blocks while it is too far behind.
type Backlogged interface {
	// UnlockNow is Unlock without the wait. It tells whether one is due.
	UnlockNow() (behind bool)
	// CatchUp is that wait. The lock is not held.
	WaitForBacklog()
}

// WorkerLister is a Broker that has workers which came in other ways than through this package.
type WorkerLister interface {
	// Others calls yield for each of them.
	OtherWorkers(yield func(name string, functions []string))
}

// A Session is what one connection can do, as a client and as a worker.
type Session interface {
	// Submit queues a job, or joins one of the same function and unique key. commit is 0, or the number of the commit that
	// makes it durable: the client hears nothing of it before Peer.Committed with that number or a higher one.
	// Errors: ErrQueueFull, or one whose text is for the client.
	Submit(Submission) (id, batch uint64, err error)

	// CanDo makes the session a worker of function. A job that it holds for longer than timeout goes back to the queue; 0 is for ever.
	CanDo(function []byte, timeout time.Duration)
	CantDo(function []byte)
	ResetAbilities()
	// Grab takes the next job of the session's functions: by priority, then age.
	Grab() (Job, bool)
	// Sleep returns true if a job is there for the session. If not, Peer.Wake is called once when one comes; Grab ends the sleep.
	Sleep() bool
	// Work passes an update to all who wait for the job. Errors: ErrNoJob when the session does not hold the job.
	Work(Update) error
	// Functions calls yield for each function the session can do.
	Functions(yield func(string))
	// Close puts back the jobs that the session holds, and leaves those that it waits for.
	Close()
}

// Peer is the connection of a session, as the broker sees it. No method blocks.
type Peer interface {
	Wake()
	// Update is called for every job that the peer submitted in the foreground, up to the one whose kind ends the job.
	Update(Update)
	Durable(commit uint64)
}

// Errors of a Broker that the protocol has codes for.
var (
	ErrQueueFull  = errors.New("Job queue is full") //nolint:staticcheck // the protocol's words
	ErrNoJob      = errors.New("job not found")
	ErrNoFunction = errors.New("function not found")
	ErrBusy       = errors.New("function has workers or jobs")
)

// Priority of a job; smaller is sooner.
type Priority uint8

const (
	High Priority = iota
	Normal
	Low
)

// Submission is a new job.
type Submission struct {
	Function, Unique, Reducer, Data []byte

	// Immutable says that Data will not change, so that the broker need not copy it.
	Immutable  bool
	Priority   Priority
	Background bool
	// After is the second since 1970 before which the job does not start; 0 is now.
	After int64
}

// Job is what a worker gets.
type Job struct {
	ID                        uint64
	Function, Unique, Reducer string
	Data                      []byte
}

// Update is what a worker says of a job. Kind is WorkData, WorkWarning, WorkStatus, or one that ends the job: WorkComplete,
// WorkFail, WorkException.
type Update struct {
	ID   uint64
	Kind Type
	// Data is the payload; of WorkStatus it is the numerator.
	Data        []byte
	Denominator []byte
	// Immutable says that Data will not change.
	Immutable bool
}

// Ends tells whether the update is the job's last.
func (u Update) Ends() bool {
	return u.Kind == WorkComplete || u.Kind == WorkFail || u.Kind == WorkException
}

// JobStatus is the state of a job. The zero value is a job that is not known, or no more.
type JobStatus struct {
	Known, Running         bool
	Numerator, Denominator uint32
	Waiting                int // clients
}

// JobInfo is a job in a listing.
type JobInfo struct {
	ID      uint64
	Unique  string
	Retries int
	Ignored bool // it will not run: nobody waits for it any more
	Stored  bool // it is a background job
}

// FunctionStatus counts the jobs of a function. Queued is by priority; delayed jobs are among the queued.
type FunctionStatus struct {
	Name    string
	Queued  [3]int
	Running int
	Workers int
}
