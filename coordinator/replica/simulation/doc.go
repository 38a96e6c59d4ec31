// Package simulation tests several coordinators under simulated faults: in one process, under fake
// time, from a seed. It has no code but its tests.
//
// # What is real
//
// Each member is a replica.Replica with hashicorp/raft, its network transport and raft-wal. While
// it leads, it runs the servers of jobs and tasks, with their cores, as a process does. Clients and
// workers call these servers without gRPC and repeat requests as real ones do. Followers answer
// with the address of the leader, where a process forwards the connection. Some requests wait: for
// the end of a queued task, of a foreground call, of a job. They outlive changes of the leader.
//
// # What is simulated
//
//   - Network: see network. Connections are cut in both directions or one, slow, or break.
//   - Disk: see disk. A power cut loses writes that were not synced, or parts of them. Disks are
//     full for a time, bytes in the log flip, and a directory is lost as a whole.
//   - Badger runs in memory. What a power cut leaves is its content as of its last sync, or a later
//     moment. The settings of raft-wal, which are in bbolt, are a value that changes all or none.
//   - Processes: killed, with or without power, also between a write to the disk and its sync.
//   - A leader whose servers end late, while it leads again already: what they propose is dropped.
//   - A paused member receives and sends nothing and answers nobody; its timers continue. A process
//     that truly stands still, with its timers, is not modelled. Nor is a wall clock that jumps.
//
// # What is checked
//
//   - The histories of all requests are linearizable (porcupine), against a model of the queue: an
//     accepted task is never lost, an idempotency key has one effect, ends never change. A caller
//     that waits gets an end of its task from the time of its wait.
//   - So are the histories of jobs: a job that was accepted ends once, and its tasks have the same
//     committed attempts for all time. A worker has finished each of them.
//   - Two minutes after the last fault, every request has an answer.
//   - All members then have the same content.
//   - No process ends by itself, but for damage to its log.
//
// # Seeds
//
// A seed decides faults, requests and delays. The Go scheduler still decides the order of
// goroutines at the same instant, so a seed repeats itself mostly, not always. A seed that fails
// prints its story and how to repeat it.
package simulation
