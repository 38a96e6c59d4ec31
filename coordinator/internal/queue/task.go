package queue

import (
	"crypto/sha256"
	"encoding/binary"
	"time"
)

// ID names a task or a group, for ever: a count of all that there were, and for a task its slot in memory, which makes finding it
// one load. Later ones have larger IDs. Zero is none.
type ID uint64

const slotBits = 26 // 67 million tasks at once; the count lasts for 270,000 million

func (id ID) slot() int32 { return int32(id & (1<<slotBits - 1)) }

// Key is a unique key.
type Key [2]uint64

// KeyOf returns the key of a unique string, a cryptographic hash of it. An empty string has the zero Key, which joins nothing.
func KeyOf[T string | []byte](unique T) Key {
	if len(unique) == 0 {
		return Key{}
	}
	sum := sha256.Sum256([]byte(unique))
	return Key{binary.LittleEndian.Uint64(sum[:]) | 1, binary.LittleEndian.Uint64(sum[8:])}
}

// State is where a task is. Every task is counted in exactly one.
type State uint8

const (
	Waiting   State = iota + 1 // for a worker
	Delayed                    // for a time, or for its input
	Running                    // on a worker
	WasDone                    // ended with a result
	WasFailed                  // ended without
	WasCancelled
	states
)

// String returns the state in the words of the status page.
func (s State) String() string {
	return [states]string{"none", "waiting", "delayed", "running", "done", "failed", "cancelled"}[s]
}

func (s State) hasEnded() bool { return s >= WasDone }

// task is one cache line: what a million waiting tasks cost. What few tasks have is elsewhere, by slot.
type task struct {
	links           // waiting: in a queue of its function; with a timer: in the wheel; else see settle
	id        ID    // zero: the slot is free
	key       Key   // zero: none
	due       int64 // waiting, running: stamp of its place in the order; delayed, ended: tick of the timer
	fn        int32
	firstWait int32 // first of those that wait for it, or 0
	run       int32 // while it runs
	policy    int32
	size      uint32
	attempts  uint16 // begun, since it was run again if it was a dead letter; see number
	state     State
	flags     flags
}

type flags uint8

const (
	rankMask    flags = 3 // High 0, Normal 1, Low 2
	background  flags = 1 << iota << 1
	durable           // its Records are written
	grouped           // in Queue.memberOf
	chained           // in Queue.chains
	awaitsInput       // delayed until Gathered, in Queue.held
	hasUpdate         // there is an update, or a result, that Drop must remove
)

func (f flags) rank() int { return int(f & rankMask) }

func rankOf(p Priority) flags { return [3]flags{1, 0, 2}[p] }

func (f flags) priority() Priority { return priorities[f.rank()] }

// priorities are by rank.
var priorities = [3]Priority{High, Normal, Low}

// find returns the slot of a task, or 0.
func (q *Queue) find(id ID) int32 {
	if i := id.slot(); id != 0 && q.tasks.hasMemory(i) && q.tasks.at(i).id == id {
		return i
	}
	return 0
}

// newID returns an ID for a slot. IDs are reserved in ranges, by a Record, so that none is used again after a restart.
func (q *Queue) newID(slot int32) ID {
	q.seq++
	if q.seq >= q.reserved {
		q.reserved = q.seq + reserve
		q.write(0, NoPayload, []byte{'n'}, binary.BigEndian.AppendUint64(nil, q.reserved))
	}
	return ID(q.seq<<slotBits | uint64(slot))
}

const reserve = 1 << 20

// policyOf returns the number of a policy, of which there is one more user now.
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
	q.lastPolicy = i
	return i
}

type sharedPolicy struct {
	Policy
	users int
}

func (q *Queue) dropPolicy(i int32) {
	p := &q.policies[i]
	if p.users--; p.users == 0 {
		delete(q.policyIndex, p.Policy)
		q.freePolicies = append(q.freePolicies, i)
		if q.lastPolicy == i {
			q.lastPolicy = 0
		}
	}
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

// backoff is the wait after n failed tries.
func (p Policy) backoff(n int) time.Duration {
	d := p.Backoff
	for ; n > 1 && d < p.MaxBackoff; n-- {
		d *= 2
	}
	return min(d, p.MaxBackoff)
}
