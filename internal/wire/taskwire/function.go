// Package taskwire turns the state of queued tasks into messages and back. Package wire does not
// import it, so a pipeline program links no message of tasks.
package taskwire

import (
	"github.com/layshaft/layshaft/internal/report"
	tasksv1 "github.com/layshaft/layshaft/proto/layshaft/tasks/v1"
)

// TaskCountsToProto converts counts of queued tasks.
func TaskCountsToProto(c report.TaskCounts) *tasksv1.TaskCounts {
	return &tasksv1.TaskCounts{Submitted: int64(c.Submitted), Waiting: int64(c.Waiting), Delayed: int64(c.Delayed), Running: int64(c.Running),
		Done: int64(c.Done), Failed: int64(c.Failed), Cancelled: int64(c.Cancelled)}
}

// TaskCountsFromProto converts counts of queued tasks.
func TaskCountsFromProto(p *tasksv1.TaskCounts) report.TaskCounts {
	return report.TaskCounts{Submitted: int(p.GetSubmitted()), Waiting: int(p.GetWaiting()), Delayed: int(p.GetDelayed()), Running: int(p.GetRunning()),
		Done: int(p.GetDone()), Failed: int(p.GetFailed()), Cancelled: int(p.GetCancelled())}
}

// FunctionToProto converts the state of a function. Number stays behind.
func FunctionToProto(f *report.Function) *tasksv1.FunctionStatus {
	return &tasksv1.FunctionStatus{Function: f.Name, Counts: TaskCountsToProto(f.Counts), WaitingHigh: int64(f.WaitingHigh),
		WaitingNormal: int64(f.WaitingNormal), WaitingLow: int64(f.WaitingLow), Dead: int64(f.Dead), Workers: int64(f.Workers),
		Limits: LimitsToProto(f.Limits), Paused: f.Paused}
}

// LimitsToProto converts the limits of a function.
func LimitsToProto(l report.FunctionLimits) *tasksv1.FunctionLimits {
	p := &tasksv1.FunctionLimits{QueueHigh: int64(l.QueueHigh), QueueNormal: int64(l.QueueNormal), QueueLow: int64(l.QueueLow),
		Concurrency: int64(l.Concurrency), Rate: l.Rate, Burst: int64(l.Burst), Weight: int64(l.Weight), Needs: map[string]int64{}}
	for budget, n := range l.Needs {
		p.Needs[budget] = int64(n)
	}
	return p
}

// FunctionFromProto converts the state of a function.
func FunctionFromProto(p *tasksv1.FunctionStatus) report.Function {
	l := p.GetLimits()
	limits := report.FunctionLimits{QueueHigh: int(l.GetQueueHigh()), QueueNormal: int(l.GetQueueNormal()), QueueLow: int(l.GetQueueLow()),
		Concurrency: int(l.GetConcurrency()), Rate: l.GetRate(), Burst: int(l.GetBurst()), Weight: int(l.GetWeight()), Needs: map[string]int{}}
	for budget, n := range l.GetNeeds() {
		limits.Needs[budget] = int(n)
	}
	return report.Function{Name: p.GetFunction(), Counts: TaskCountsFromProto(p.GetCounts()), WaitingHigh: int(p.GetWaitingHigh()),
		WaitingNormal: int(p.GetWaitingNormal()), WaitingLow: int(p.GetWaitingLow()), Dead: int(p.GetDead()), Workers: int(p.GetWorkers()),
		Limits: limits, Paused: p.GetPaused()}
}
