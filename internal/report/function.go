package report

// Function is the state of a function. The task server fills it, and all views show it:
// `layshaft task status`, the status page, /api/status and the metrics.
type Function struct {
	// Name is the name of the function.
	Name string `json:"name"`
	// Number is the sequence number, smaller for older functions. Clients do not get it.
	Number int `json:"-"`
	// Counts includes ended tasks, also after they are forgotten.
	Counts TaskCounts `json:"counts"`
	// WaitingHigh, WaitingNormal and WaitingLow add up to Counts.Waiting.
	WaitingHigh   int `json:"waiting_high"`
	WaitingNormal int `json:"waiting_normal"`
	WaitingLow    int `json:"waiting_low"`
	// Dead is the number of dead letters.
	Dead int `json:"dead"`
	// Workers is the number of workers able to run the function.
	Workers int `json:"workers"`
	// Limits bound the function.
	Limits FunctionLimits `json:"limits"`
	// Paused means that no task of the function starts.
	Paused bool `json:"paused"`
}

// Add adds the tasks, dead letters and workers of x to f, for a sum of functions.
func (f *Function) Add(x *Function) {
	f.Counts.Add(x.Counts)
	f.WaitingHigh += x.WaitingHigh
	f.WaitingNormal += x.WaitingNormal
	f.WaitingLow += x.WaitingLow
	f.Dead += x.Dead
	f.Workers += x.Workers
}

// TaskCounts counts queued tasks by state: Waiting, Delayed, Running, Done, Failed or Cancelled.
// Submitted is always the sum of these six.
type TaskCounts struct {
	Submitted int `json:"submitted"`
	Waiting   int `json:"waiting"`
	Delayed   int `json:"delayed"`
	Running   int `json:"running"`
	Done      int `json:"done"`
	Failed    int `json:"failed"`
	Cancelled int `json:"cancelled"`
}

// Add adds x to c.
func (c *TaskCounts) Add(x TaskCounts) {
	c.Submitted += x.Submitted
	c.Waiting += x.Waiting
	c.Delayed += x.Delayed
	c.Running += x.Running
	c.Done += x.Done
	c.Failed += x.Failed
	c.Cancelled += x.Cancelled
}

// Unfinished returns the number of tasks that have not ended.
func (c *TaskCounts) Unfinished() int { return c.Waiting + c.Delayed + c.Running }

// FunctionLimits bound a function over all workers together. Zero values mean no limit.
type FunctionLimits struct {
	// QueueHigh is the number of unfinished tasks from which a task of high priority is refused.
	QueueHigh int `json:"queue_high"`
	// QueueNormal is the same for normal priority.
	QueueNormal int `json:"queue_normal"`
	// QueueLow is the same for low priority.
	QueueLow int `json:"queue_low"`
	// Concurrency is the maximum number of tasks running at once.
	Concurrency int `json:"concurrency"`
	// Rate is the maximum number of starts per second.
	Rate float64 `json:"rate"`
	// Burst is the number of starts allowed at once after a pause. Zero means 1.
	Burst int `json:"burst"`
	// Weight is the share of starts beside other functions with waiting tasks of the same priority,
	// 1 to 1000: a function of weight 3 gets three starts for each one of weight 1. Zero means 1.
	Weight int `json:"weight"`
	// Needs is the amount of each budget used by a running task, by budget name.
	Needs map[string]int `json:"needs"`
}
