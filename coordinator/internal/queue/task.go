package queue

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"time"
)

// ID identifies a task or a group and is never used again. Its high bits are a sequence number, so
// later IDs are larger. The low bits of a task's ID are its slot in memory, so a lookup takes one
// load. Zero means none.
type ID uint64

// String returns the ID in hexadecimal digits, as in commands, pages and logs.
func (id ID) String() string { return fmt.Sprintf("%x", uint64(id)) }

// MarshalText returns String.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// slotBits is the width of the slot in an ID: 67 million tasks at once. The sequence number above
// it lasts for 270,000 million IDs.
const slotBits = 26

func (id ID) slot() int32 { return int32(id & (1<<slotBits - 1)) }

// Key is the hash of a unique string; see KeyOf.
type Key [2]uint64

// KeyOf returns the key of a unique string, the start of its SHA-256. The empty string has the zero
// Key: tasks with it are never joined.
func KeyOf[T string | []byte](unique T) Key {
	if len(unique) == 0 {
		return Key{}
	}
	sum := sha256.Sum256([]byte(unique))
	return Key{binary.LittleEndian.Uint64(sum[:]) | 1, binary.LittleEndian.Uint64(sum[8:])}
}

// State is the state of a task. Each task is counted in exactly one.
type State uint8

const (
	// Waiting for a worker.
	Waiting State = iota + 1
	// Delayed until a time, or until its input is ready.
	Delayed
	// Running on a worker.
	Running
	// WasDone: ended with a result.
	WasDone
	// WasFailed: ended without a result, after its last attempt.
	WasFailed
	// WasCancelled: ended by a client, or because nobody waited for it.
	WasCancelled
	states
)

// String returns the name of the state as shown on the status page.
func (s State) String() string {
	return [states]string{"none", "waiting", "delayed", "running", "done", "failed", "cancelled"}[s]
}

func (s State) hasEnded() bool { return s >= WasDone }

// task fills one cache line, because there may be millions of waiting tasks. Rare properties are
// stored in maps of Queue, by slot.
type task struct {
	// links is the place in a list: a waiting task is in a queue of its function, a task with a
	// timer in the wheel, another in one of the lists of fileEnded.
	links
	id  ID  // zero: free slot
	key Key // zero: none
	// due of a waiting or running task is its age stamp; of a delayed or ended task it is the tick
	// of its timer.
	due       int64
	fn        int32
	firstWait int32 // slot of the first wait, or 0
	run       int32 // slot of its run, while running
	policy    int32
	size      uint32
	// attempts counts the attempts begun since the submit or the last Retry; see attemptNumber.
	attempts uint16
	state    State
	flags    flags
}

type flags uint8

const (
	rankMask    flags = 3 // High 0, Normal 1, Low 2
	background  flags = 1 << iota << 1
	durable           // it has Records
	grouped           // it is in Queue.memberOf
	chained           // it is in Queue.chains
	awaitsInput       // delayed until Gathered, in Queue.parked; a dead letter without input
	hasUpdate         // Drop must remove an update or a result
)

func (f flags) rank() int { return int(f & rankMask) }

func rankOf(p Priority) flags { return [3]flags{1, 0, 2}[p] }

func (f flags) priority() Priority { return priorities[f.rank()] }

// priorities maps ranks to priorities.
var priorities = [3]Priority{High, Normal, Low}

// find returns the slot of a task, or 0 if there is no such task.
func (q *Queue) find(id ID) int32 {
	if i := id.slot(); id != 0 && q.tasks.hasMemory(i) && q.tasks.at(i).id == id {
		return i
	}
	return 0
}

// newID returns an ID for a slot. A Record reserves IDs in ranges, so that no ID is used again
// after a restart.
func (q *Queue) newID(slot int32) ID {
	q.seq++
	if q.seq >= q.reserved {
		q.reserved = q.seq + reserve
		q.write(0, NoPayload, []byte{'n'}, binary.BigEndian.AppendUint64(nil, q.reserved))
	}
	return ID(q.seq<<slotBits | uint64(slot))
}

const reserve = 1 << 20

// policyOf returns the number of the shared copy of p and adds a user to it. The last one stays
// without users, as the next task mostly has the same.
func (q *Queue) policyOf(p Policy) int32 {
	if q.lastPolicy > 0 && q.policies[q.lastPolicy].Policy == p {
		q.policies[q.lastPolicy].users++
		return q.lastPolicy
	}
	i, ok := q.policyIndex[p]
	if !ok {
		if n := len(q.freePolicies); n > 0 {
			i, q.freePolicies = q.freePolicies[n-1], q.freePolicies[:n-1]
		} else {
			i = int32(len(q.policies))
			q.policies = append(q.policies, sharedPolicy{})
		}
		q.policies[i].Policy = p
		q.policyIndex[p] = i
	}
	q.policies[i].users++
	last := q.lastPolicy
	if q.lastPolicy = i; last > 0 && q.policies[last].users == 0 {
		q.removePolicy(last)
	}
	return i
}

type sharedPolicy struct {
	Policy
	users int
}

func (q *Queue) dropPolicy(i int32) {
	p := &q.policies[i]
	if p.users--; p.users == 0 && i != q.lastPolicy {
		q.removePolicy(i)
	}
}

func (q *Queue) removePolicy(i int32) {
	delete(q.policyIndex, q.policies[i].Policy)
	q.freePolicies = append(q.freePolicies, i)
}

func (p Policy) withDefaults() Policy {
	if p.Attempts == 0 {
		p.Attempts = 5
	}
	if p.Backoff == 0 {
		p.Backoff = time.Second
	}
	if p.MaxBackoff == 0 {
		p.MaxBackoff = time.Hour
	}
	return p
}

func (p Policy) valid() bool {
	return p.Attempts >= 0 && p.Attempts < 1<<16 && min(p.Backoff, p.MaxBackoff, p.Soft, p.Hard, p.Keep) >= 0
}

// backoff returns the delay after n failed attempts.
func (p Policy) backoff(n int) time.Duration {
	if n < 1 {
		return 0
	}
	d := p.Backoff
	for ; n > 1 && d < p.MaxBackoff; n-- {
		d *= 2
	}
	return min(d, p.MaxBackoff)
}
