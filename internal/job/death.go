package job

import "time"

// Death is what a worker saw of an attempt without output and of its process, for people.
type Death struct {
	// Exit is how the process ended, such as exit status 2 or signal killed; empty if it lives.
	Exit string `json:"exit,omitempty"`
	// Memory is yes or no if it is known whether the kernel killed the process for lack of memory.
	// It is empty if that is unknown, or if the process lives.
	Memory string `json:"out_of_memory,omitempty"`
	// Evidence are the facts behind Memory, one line each.
	Evidence []string `json:"evidence,omitempty"`
	// Peak is the largest memory of the process, and Limit the memory of the machine or cgroup, in
	// bytes; zero means unknown.
	Peak  int64 `json:"peak_bytes,omitempty"`
	Limit int64 `json:"limit_bytes,omitempty"`
	// Curve is the memory of the process in bytes, at intervals of Every up to its end.
	Curve []int64       `json:"memory_bytes,omitempty"`
	Every time.Duration `json:"memory_every_ns,omitempty"`
	// CPU is the processor time of the process; zero means unknown.
	CPU time.Duration `json:"cpu_ns,omitempty"`
	// Records and Bytes are the input that the attempt had read.
	Records int64 `json:"read_records,omitempty"`
	Bytes   int64 `json:"read_bytes,omitempty"`
	// Stacks are the stacks of the attempt's goroutines before its end; empty if nobody took them.
	Stacks string `json:"stacks,omitempty"`
	// Idle is how long the attempt had read no record and used no processor.
	Idle time.Duration `json:"idle_ns,omitempty"`
}
