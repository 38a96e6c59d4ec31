package queue

// Command is a wish that the shell carries out, after it has written all Records of the same Step. It is one flat struct, so
// that a Step allocates nothing; each Op says which fields it uses. Key and Value are valid until the next Step.
type Command struct {
	Op       Op
	Notice   Notice  // of Tell, Stop and Rejected
	Payload  Payload // where the payload is, of Tell and Write
	Peer     Peer
	Task     ID
	Ref      uint64 // of the event that is answered
	N, M     uint64 // Tell of Progress; Assign: the attempt in N
	Function string // Assign and Gather; of Want, Occupied and Vacated the share
	Key      []byte // Write
	Value    []byte // Write; nil means remove
	Tasks    []ID   // Gather
}

// Op is what a Command wants.
type Op uint8

const (
	// Write makes a Record (Key, Value) durable before any other command of the same Step is carried out. From OfEvent: with the
	// payload of the event as the input of Task. From OfInput: with the input that the shell has kept so far. Value nil: remove.
	Write Op = iota + 1
	// Accepted answers Ref. Task is the task (or group); N is 1 when it was there before.
	Accepted
	// Rejected answers Ref: What is QueueFull, Invalid or Busy.
	Rejected
	// Unknown answers Ref, or a Report by Peer: there is no such Task, or it is not the peer's.
	Unknown
	// Keep asks to keep the event's payload as the input of Task. It comes with each new task that is not durable; with a
	// durable one, Write does both.
	Keep
	// KeepResult asks to keep the event's payload as the result of Task, durably if N is 1.
	KeepResult
	// KeepError asks to keep why Task has failed, in place of a result, durably if N is 1: the event's payload if From is OfEvent, else What, which is TimedOut or
	// Lost, in words.
	KeepError
	// Drop lets go of the input and the result of Task. If N is 1 the task is durable: its Records go too, which no Write says.
	// If M is 0 there is neither a durable result nor an update among them.
	Drop
	// Assign gives Task, of Function, to Peer; attempt N.
	Assign
	// NoTask answers Grab.
	NoTask
	// Wake wakes Peer.
	Wake
	// Notify passes on to Peer, which waits for Task, What was reported. M of Failed is why: Failed, TimedOut or Lost.
	Notify
	// Stop asks Peer to stop Task: What is Soft (the task may still end well), TimedOut or Cancelled.
	// A peer with slots reports the end all the same; that frees the slot.
	Stop
	// Gather asks to put together the input of Task from the results of Tasks, in order, and to keep it, and then to say Gathered. M is 1 for
	// a group. For a chain Tasks has one element, whose result is the input.
	// Tasks is valid for ever; those that failed have no result.
	Gather
	// GroupEnded says that the group Task is over; What is Done, Failed or Cancelled.
	GroupEnded
	// Granted answers Acquire.
	Granted
	// Want says how many more tasks of priority M could start now in slots of a share: N. It may be too many, and then no longer is after a Grant.
	Want
	// Occupied says that a task of priority M runs in a slot of a share without a Grant.
	Occupied
	// Vacated gives a slot back that a Grant gave to a task of priority M, or that was Occupied.
	Vacated
)

// Notice says what happened to a task, or why something did not.
type Notice uint8

const (
	Data      Notice = iota + 1 // partial result
	Warning                     // message for people
	Progress                    // N of M
	Exception                   // message of an error; Failed or Fatal ends the try
	Done                        // with the result
	Failed                      // this try; Tell: for good, after the last try
	Fatal                       // for good, reported by a worker; told as Failed
	Cancelled                   // by somebody
	TimedOut                    // hard time limit; told as Failed after the last try
	Lost                        // with its worker; told as Failed after the last try
	Retrying                    // Tell: the try failed, there will be another, number N
	Followed                    // Tell: done, and the task N follows it: its end is told instead
	Soft                        // Stop: soft time limit
	QueueFull                   // Rejected: the function's queue limit
	Invalid                     // Rejected: a field is out of bounds, or the group is not open
	Busy                        // Rejected: the function has workers or tasks
)

// Payload says where a payload is.
type Payload uint8

const (
	NoPayload  Payload = iota // there is none
	FromEvent                 // in the event of this Step
	FromInput                 // kept as the input of the task
	FromResult                // kept as the result of the task
)
