package taskserver

import (
	"fmt"
	"math"
	"time"

	"github.com/layshaft/layshaft/coordinator/internal/desk"
	"github.com/layshaft/layshaft/coordinator/internal/queue"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/internal/wire"
	tasksv1 "github.com/layshaft/layshaft/proto/layshaft/tasks/v1"
)

var taskPriorities = [...]queue.Priority{
	tasksv1.TaskPriority_TASK_PRIORITY_UNSPECIFIED: queue.Normal,
	tasksv1.TaskPriority_TASK_PRIORITY_HIGH:        queue.High,
	tasksv1.TaskPriority_TASK_PRIORITY_LOW:         queue.Low,
}

// priorityFromProto converts a priority. For an unknown p it returns one that the core refuses.
func priorityFromProto(p tasksv1.TaskPriority) queue.Priority {
	if p < 0 || int(p) >= len(taskPriorities) {
		return math.MaxUint8
	}
	return taskPriorities[p]
}

func priorityToProto(p queue.Priority) tasksv1.TaskPriority {
	for i, q := range taskPriorities {
		if q == p {
			return tasksv1.TaskPriority(i)
		}
	}
	return 0
}

func taskPolicyFromProto(p *tasksv1.TaskPolicy) queue.Policy {
	attempts := p.GetAttempts()
	if attempts > math.MaxInt32 {
		attempts = -1 // which the core refuses
	}
	return queue.Policy{Attempts: int(attempts), Backoff: time.Duration(p.GetBackoffNanos()), MaxBackoff: time.Duration(p.GetMaxBackoffNanos()),
		Soft: time.Duration(p.GetSoftNanos()), Hard: time.Duration(p.GetHardNanos()), Keep: time.Duration(p.GetKeepNanos())}
}

func taskPolicyToProto(p queue.Policy) *tasksv1.TaskPolicy {
	return &tasksv1.TaskPolicy{Attempts: int64(p.Attempts), BackoffNanos: int64(p.Backoff), MaxBackoffNanos: int64(p.MaxBackoff),
		SoftNanos: int64(p.Soft), HardNanos: int64(p.Hard), KeepNanos: int64(p.Keep)}
}

func nextFromProto(then []*tasksv1.NextTask) []queue.Next {
	var out []queue.Next
	for _, n := range then {
		out = append(out, queue.Next{Function: n.GetFunction(), Priority: priorityFromProto(n.GetPriority()), Policy: taskPolicyFromProto(n.GetPolicy())})
	}
	return out
}

// submissionFromProto converts a task to a submission. It checks only the input; the core
// checks the rest.
func submissionFromProto(p *tasksv1.TaskSpec, background bool, now time.Time) desk.Submission {
	s := desk.Submission{Function: p.GetFunction(), Unique: p.GetUnique(), Input: p.GetInput(), Priority: priorityFromProto(p.GetPriority()),
		Policy: taskPolicyFromProto(p.GetPolicy()), Group: queue.ID(p.GetGroup()), Place: int(min(max(p.GetPlace(), 0), math.MaxInt32)), Then: nextFromProto(p.GetThen()), Background: background,
		Token: p.GetToken(), Repeated: p.GetResubmitted(), Fresh: p.GetFresh(), Trace: p.GetTrace()}
	if n := p.GetDueNanos(); n > 0 {
		s.Due = time.Unix(0, n)
	}
	if delay := time.Duration(p.GetDelayNanos()); delay > 0 && now.Add(delay).After(s.Due) {
		s.Due = now.Add(delay)
	}
	s.Parent = queue.ID(p.GetParent())
	s.Durable = isDurable(p.GetDurability(), background)
	return s
}

func isDurable(d tasksv1.Durability, otherwise bool) bool {
	switch d {
	case tasksv1.Durability_DURABILITY_DISK:
		return true
	case tasksv1.Durability_DURABILITY_MEMORY:
		return false
	}
	return otherwise
}

func limitsFromProto(p *tasksv1.FunctionLimits) (l queue.Limits, err error) {
	number := func(what string, n int64) int {
		if err == nil {
			err = checkAmount(what, n)
		}
		return int(n)
	}
	l.Queue[queue.High], l.Queue[queue.Normal], l.Queue[queue.Low] = number("queue limit", p.GetQueueHigh()), number("queue limit", p.GetQueueNormal()), number("queue limit", p.GetQueueLow())
	l.Concurrency, l.Rate, l.Burst = number("concurrency", p.GetConcurrency()), p.GetRate(), number("burst", p.GetBurst())
	if l.Weight = number("weight", p.GetWeight()); err == nil && l.Weight > queue.MaxWeight {
		err = fmt.Errorf("%w: weight %d must be 1 to %d, or 0 for 1", wire.ErrInvalid, l.Weight, queue.MaxWeight)
	}
	for _, budget := range sortedKeys(p.GetNeeds()) {
		l.Needs = append(l.Needs, queue.Need{Budget: budget, N: number(fmt.Sprintf("need of budget %.100q:", budget), p.GetNeeds()[budget])})
	}
	if err == nil && l.Rate != 0 && !(l.Rate >= minRate && l.Rate <= maxRate) {
		err = fmt.Errorf("%w: rate %v must be %v to %v starts per second, or 0 for no limit", wire.ErrInvalid, l.Rate, minRate, maxRate)
	}
	return l, err
}

const (
	minRate = 1e-9 // a start in 30 years
	maxRate = 1e9
)

// checkAmount returns an error when n is not a possible amount.
func checkAmount(what string, n int64) error {
	if n < 0 || n > math.MaxInt32 {
		return fmt.Errorf("%w: %s %d must be 0 to %d", wire.ErrInvalid, what, n, math.MaxInt32)
	}
	return nil
}

// functionOf converts the state of a function.
func functionOf(f *queue.FunctionInfo) report.Function {
	l := &f.Limits
	limits := report.FunctionLimits{QueueHigh: l.Queue[queue.High], QueueNormal: l.Queue[queue.Normal], QueueLow: l.Queue[queue.Low],
		Concurrency: l.Concurrency, Rate: l.Rate, Burst: l.Burst, Weight: l.Weight, Needs: map[string]int{}}
	for _, n := range l.Needs {
		limits.Needs[n.Budget] = n.N
	}
	return report.Function{Name: f.Name, Number: f.Number, Counts: countsOf(f.Counts), WaitingHigh: f.Queued[queue.High], WaitingNormal: f.Queued[queue.Normal],
		WaitingLow: f.Queued[queue.Low], Dead: f.Dead, Workers: f.Workers, Limits: limits, Paused: l.Paused}
}

func countsOf(c queue.Counts) report.TaskCounts {
	return report.TaskCounts{Submitted: c.Submitted, Waiting: c.In[queue.Waiting], Delayed: c.In[queue.Delayed], Running: c.In[queue.Running],
		Done: c.In[queue.WasDone], Failed: c.In[queue.WasFailed], Cancelled: c.In[queue.WasCancelled]}
}

// infoToProto converts the state of a task; worker is the name of its worker.
func infoToProto(i queue.Info, worker string) *tasksv1.TaskInfo {
	p := &tasksv1.TaskInfo{Task: uint64(i.ID), Function: i.Function, State: tasksv1.TaskState(i.State), Dead: i.DeadLetter,
		Priority: priorityToProto(i.Priority), Background: i.Background, Durable: i.Durable, Attempts: int64(i.Attempts), Lost: int64(i.Lost), Waiters: int64(i.Waiters),
		Size: int64(i.Size), Worker: worker, Policy: taskPolicyToProto(i.Policy)}
	if !i.Due.IsZero() {
		p.DueNanos = i.Due.UnixNano()
	}
	if !i.Died.IsZero() {
		p.EndedNanos = i.Died.UnixNano()
	}
	if i.M > 0 || i.N > 0 {
		p.Progress = &tasksv1.TaskProgress{Done: i.N, Total: i.M}
	}
	return p
}

func reasonToProto(w queue.Notice) tasksv1.TaskReason {
	switch w {
	case queue.TimedOut:
		return tasksv1.TaskReason_TASK_REASON_TIMEOUT
	case queue.Lost:
		return tasksv1.TaskReason_TASK_REASON_LOST
	case queue.Cancelled:
		return tasksv1.TaskReason_TASK_REASON_CANCELLED
	}
	return tasksv1.TaskReason_TASK_REASON_ERROR
}
