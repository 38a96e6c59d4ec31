package report

import "time"

// Worker is the state of a worker. The scheduler and the job server fill it, and all views show
// it: `layshaft worker list`, `layshaft status`, the status page, /api/status and the metrics.
type Worker struct {
	// Name is the name of the worker's process; for an away worker, its ID.
	Name string `json:"worker"`
	// ID is the lasting ID of the worker's data directory.
	ID    string `json:"id"`
	State State  `json:"state"`
	// WaitingReason explains why a draining worker cannot leave yet, in words for people; it may be
	// empty.
	WaitingReason string   `json:"waiting_reason,omitempty"`
	Address       string   `json:"address"`
	Zone          string   `json:"zone,omitempty"`
	Platform      string   `json:"platform"` // GOOS/GOARCH
	Version       string   `json:"version"`
	Tags          []string `json:"tags,omitempty"`
	// Datasets are the datasets on offer; for an away worker, those on offer before.
	Datasets []string `json:"datasets,omitempty"`
	Slots    int      `json:"slots"`
	// Reserved is how many of the slots only interactive jobs and urgent tasks may use.
	Reserved int `json:"reserved"`
	// Running counts attempts on the worker, including cancelled ones that have not ended.
	Running int `json:"running"`
	// QueuedTasks counts the queued tasks in the worker's slots.
	QueuedTasks int `json:"queued_tasks"`
	// Memory is how many bytes one attempt may hold.
	Memory int64 `json:"memory_bytes"`
	// FreeBytes is the free space of the worker's disk in its last heartbeat; zero before the first
	// one.
	FreeBytes int64 `json:"free_bytes"`
	// AllowsShippedCode means that the worker accepts programs from clients.
	AllowsShippedCode bool `json:"allows_shipped_code"`
	// Silent is the time since the worker joined or sent its last heartbeat.
	Silent Seconds `json:"silent_seconds"`
}

// Busy returns how many of the worker's slots are in use, by attempts or by queued tasks.
func (w *Worker) Busy() int { return w.Running + w.QueuedTasks }

// State is the state of a worker.
type State string

// The states of a worker.
const (
	Ready    State = "ready"
	Draining State = "draining" // gets no new attempts, and will leave
	Blocked  State = "blocked"  // failed too often; gets no attempts for a while
	Away     State = "away"     // was lost, and may come back with its datasets
)

// Seconds is a duration, in seconds for JSON.
type Seconds float64

// SecondsOf converts d.
func SecondsOf(d time.Duration) Seconds { return Seconds(d.Seconds()) }

// Duration converts s.
func (s Seconds) Duration() time.Duration { return time.Duration(float64(s) * float64(time.Second)) }
