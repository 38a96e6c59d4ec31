package report

// ReplayEnv is the environment variable with the file of a task to replay; see package tasks.
const ReplayEnv = "LAYSHAFT_REPLAY_TASK"

// ReplayTaken ends the name of an empty file beside the file of ReplayEnv. The program makes it
// when it has found the handler of the task.
const ReplayTaken = ".taken"

// Replay is a queued task to run once more in one process, as JSON in the file of ReplayEnv.
type Replay struct {
	Task     uint64 `json:"task"`     // ID of the task
	Function string `json:"function"` // name of its function
	Attempt  int    `json:"attempt"`  // number of the attempt, from 1
	Input    []byte `json:"input"`    // the payload
}
