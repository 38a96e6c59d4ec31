package queue

// Command is an action for the shell. The shell first writes all Records of the same Step, then
// carries out the rest. Command is one flat struct, so a Step allocates nothing; each Op documents
// the fields it uses. Key and Value are valid until the next Step.
type Command struct {
	Op Op
	// Notice is set in Notify, Stop and Rejected.
	Notice Notice
	// Payload is the location of the payload, in Notify and Write.
	Payload Payload
	Peer    Peer
	Task    ID
	Ref     uint64 // Ref of the answered event
	// N and M are the progress in Notify. N is the attempt in Assign.
	N, M uint64
	// Function is set in Assign and Gather. In Want, Occupied and Vacated it is the share, in
	// Short a reason.
	Function string
	Key      []byte // in Write
	Value    []byte // in Write; nil removes the Record
	Tasks    []ID   // in Gather
}

// Op is the kind of a Command.
type Op uint8

const (
	// Write makes a Record (Key, Value) durable before the other commands of the same Step. A nil
	// Value removes the Record. With FromEvent, the payload of the event is stored as the input of
	// Task in the same transaction; with FromInput, the input stored earlier is made durable.
	Write Op = iota + 1
	// Accepted answers Ref. Task is the task or group. N is 1 if it existed before.
	Accepted
	// Rejected answers Ref. Notice is QueueFull, Invalid, Busy or Circular.
	Rejected
	// Unknown answers Ref, or a Report by Peer: Task does not exist, or does not run on this peer.
	Unknown
	// Keep stores the event's payload as the input of Task, or an empty input with NoPayload. It
	// comes with each new task without Records; for a durable task, Write does both.
	Keep
	// KeepResult stores the event's payload as the result of Task, durably if N is 1.
	KeepResult
	// KeepError stores the reason why Task failed, in place of a result, durably if N is 1. The
	// reason is the event's payload (FromEvent), or Notice in words: TimedOut, Lost, Circular, or
	// TooLarge with M, the number of bytes.
	KeepError
	// Drop removes the input and the result of Task. N is 1 for a durable task: its Records are
	// removed too, without further Writes. M is 0 if it has neither a durable result nor an update
	// Record.
	Drop
	// Assign starts attempt N of Task, of Function, on Peer.
	Assign
	// NoTask answers Grab.
	NoTask
	// Wake wakes Peer.
	Wake
	// Notify passes a notice about Task to Peer, which waits for it. For Failed, M is the reason:
	// Failed, TimedOut, Lost or Circular.
	Notify
	// Stop asks Peer to stop Task. Notice is Soft (the task may still succeed), TimedOut or
	// Cancelled. A peer with slots reports the end in any case; the report frees the slot.
	Stop
	// Gather asks the shell to assemble and store the input of Task from the results of Tasks, in
	// order, and then to send Gathered. M is 1 for a group. For a chain, Tasks has one element, and
	// its result is the input. Failed members have no result. Tasks stays valid after the Step.
	Gather
	// GroupEnded reports the end of group Task. Notice is Done, Failed or Cancelled; N is the task
	// that follows it, or 0.
	GroupEnded
	// Granted answers Acquire.
	Granted
	// Short reports that an Acquire needs more than a whole budget; Function is the reason in
	// words. It is empty when the budget has become large enough.
	Short
	// Want reports how many more tasks of priority M could start in slots of a share: N. The number
	// may be too high; after a Grant in vain it is corrected.
	Want
	// Occupied reports that a task of priority M runs in a slot of a share without a Grant.
	Occupied
	// Vacated returns the slot of a Grant, or an Occupied one, used for a task of priority M.
	Vacated
)

// Notice is an event in the life of a task, or the reason of a refusal.
type Notice uint8

const (
	// Data is a partial result.
	Data Notice = iota + 1
	// Warning is a message for people.
	Warning
	// Progress: N of M is done.
	Progress
	// Exception is an error message; Failed or Fatal then ends the attempt.
	Exception
	// Done is the end with the result.
	Done
	// Failed: the attempt failed. In Notify: the task failed, after its last attempt.
	Failed
	// Fatal: the task failed and is not attempted again. Waiting peers receive Failed.
	Fatal
	// Cancelled by a client.
	Cancelled
	// TimedOut: the attempt reached its hard time limit. After the last attempt, waiting peers
	// receive Failed.
	TimedOut
	// Lost: the attempt was lost with its worker. After the last attempt, waiting peers receive
	// Failed.
	Lost
	// Retrying, only in Notify: the attempt failed, and attempt N will follow.
	Retrying
	// Followed, only in Notify: the task is done, and task N follows it. Further notices are about
	// task N.
	Followed
	// Soft, only in Stop: the soft time limit.
	Soft
	// QueueFull, only in Rejected: the function's queue limit.
	QueueFull
	// Invalid, only in Rejected: a field is out of bounds, or the group is not open.
	Invalid
	// Busy, only in Rejected: the function has workers or tasks.
	Busy
	// Circular, in Rejected: the task of the caller would wait for itself. As the reason of a
	// failure: the tasks that use up a limit wait for the task that it holds back; see stuck.go.
	Circular
	// TooLarge, only in KeepError: the results of a group exceed Config.MaxGathered.
	TooLarge
)

// Payload is the location of a payload.
type Payload uint8

const (
	// NoPayload: none.
	NoPayload Payload = iota
	// FromEvent: in the event of this Step.
	FromEvent
	// FromInput: stored as the input of the task.
	FromInput
	// FromResult: stored as the result of the task.
	FromResult
)
