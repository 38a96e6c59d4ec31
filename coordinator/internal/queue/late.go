package queue

import "slices"

// A worker that grabs tasks cannot be stopped. One that has reached a time limit works on, while
// its task waits for another worker or runs there. A result that comes while the task waits counts.
// Otherwise a task that takes longer than the limit of its only worker would never end.

// handleLateReport handles a report of p about task i, which was taken from p at a time limit. It
// returns false if the report has no effect.
func (q *Queue) handleLateReport(p *peer, i int32, e *Report) bool {
	if i == 0 || q.tasks.at(i).state == Running || !slices.Contains(q.late[i], p) {
		return false
	}
	switch e.Notice {
	case Data, Warning, Exception:
		q.notifyWaiters(i, Command{Notice: e.Notice, Payload: FromEvent})
	case Done:
		q.removeFromList(i)
		q.clearSuspect(i)
		q.reported = e.Size
		if q.runAgain(i) {
			return true
		}
		q.endTask(i, WasDone, Done, FromEvent)
	default:
		return false
	}
	return true
}
