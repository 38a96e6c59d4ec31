package queue

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/layshaft/layshaft/internal/cursor"
)

// version begins the value of every Record.
//
// Records are the durable state. A key is a letter followed by a name or by the 8 bytes of an ID:
//
//	b NAME  budget
//	e ID    outcome of a group that ended without a follower
//	f NAME  limits of a function
//	g ID    group that has not ended
//	k ID    origin of the IDs from this one
//	n       IDs up to this one are reserved
//	t ID    task as it was submitted
//	u ID    update: state of a task, if it is not as submitted
//	v ID    successor: the task that follows this task or group
//
// In key order, every Record comes after those it refers to. The command Drop removes t and u of
// its task.
const version = 1

var errRecord = errors.New("not a valid record of this version")

func keyOf(kind byte, id ID) []byte {
	return binary.BigEndian.AppendUint64([]byte{kind}, uint64(id))
}

func (q *Queue) keyOf(kind byte, id ID) []byte {
	from := len(q.buf)
	q.buf = binary.BigEndian.AppendUint64(append(q.buf, kind), uint64(id))
	return q.buf[from:len(q.buf):len(q.buf)]
}

func (q *Queue) write(id ID, from Payload, key, value []byte) {
	q.emit(Command{Op: Write, Task: id, Payload: from, Key: key, Value: value})
}

// recordTask writes task i as submitted with a token; zero means none.
func (q *Queue) recordTask(i int32, from Payload, token uint64) {
	t := q.tasks.at(i)
	key := q.keyOf('t', t.id)
	start := len(q.buf)
	b := append(q.buf, version)
	b = cursor.AppendBytes(b, q.functions[t.fn].name)
	b = append(b, byte(t.flags))
	if t.key == (Key{}) {
		b = append(b, 0)
	} else {
		b = binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(append(b, 1), t.key[0]), t.key[1])
	}
	due := int64(0)
	if t.state == Delayed {
		due = t.due
	}
	b = binary.AppendUvarint(binary.AppendVarint(b, due), uint64(t.size))
	b = appendPolicy(b, q.policies[t.policy].Policy)
	b = binary.AppendUvarint(b, token)
	if m, ok := q.memberOf[i]; ok {
		b = binary.AppendUvarint(binary.AppendUvarint(b, uint64(m.group.id)), uint64(m.index))
	}
	if t.flags&chained != 0 {
		b = appendNext(b, q.chains[i])
	}
	q.buf = b
	q.write(t.id, from, key, b[start:len(b):len(b)])
}

// recordUpdate writes the present state of task i.
func (q *Queue) recordUpdate(i int32) {
	t := q.tasks.at(i)
	if t.flags&durable == 0 {
		return
	}
	t.flags |= hasUpdate
	state, due, attempts := t.state, int64(0), t.attempts
	if state == Running && attempts > 0 {
		attempts-- // a claim after a restart counts it again
	}
	if state == Delayed || state.hasEnded() {
		due = t.due
	} else {
		state = Waiting // after a restart
	}
	key := q.keyOf('u', t.id)
	start := len(q.buf)
	q.buf = binary.AppendVarint(binary.AppendUvarint(append(q.buf, version, byte(state), byte(t.flags)), uint64(attempts)), due)
	l, lost := q.losses[i]
	rerun := len(q.reruns) > 0 && q.reruns[i]
	if n := q.earlierAttempts[i]; n > 0 || lost || rerun {
		q.buf = binary.AppendUvarint(q.buf, uint64(n))
	}
	if lost || rerun {
		q.buf = binary.AppendUvarint(binary.AppendUvarint(q.buf, uint64(l.total)), uint64(l.isolated)<<2|boolBit(l.lastIsolated)<<1|boolBit(l.suspect))
	}
	if rerun {
		q.buf = append(q.buf, 1)
	}
	q.write(t.id, NoPayload, key, q.buf[start:len(q.buf):len(q.buf)])
}

func (q *Queue) recordGroup(g *group) {
	if g.durable {
		q.write(g.id, NoPayload, keyOf('g', g.id), binary.LittleEndian.AppendUint64(appendNext([]byte{version, byte(boolBit(g.open) | boolBit(g.partial)<<1)}, g.then), g.token))
	}
}

func appendPolicy(b []byte, p Policy) []byte {
	b = binary.AppendUvarint(b, uint64(p.Attempts))
	for _, d := range [...]time.Duration{p.Backoff, p.MaxBackoff, p.Soft, p.Hard, p.Keep} {
		b = binary.AppendUvarint(b, uint64(d))
	}
	return b
}

func appendNext(b []byte, then []Next) []byte {
	b = binary.AppendUvarint(b, uint64(len(then)))
	for _, n := range then {
		b = appendPolicy(append(cursor.AppendBytes(b, n.Function), byte(n.Priority)), n.Policy)
	}
	return b
}

func appendLimits(b []byte, l Limits) []byte {
	for _, n := range [...]int{l.Queue[0], l.Queue[1], l.Queue[2], l.Concurrency, l.Burst, len(l.Needs)} {
		b = binary.AppendUvarint(b, uint64(n))
	}
	b = binary.LittleEndian.AppendUint64(append(b, byte(boolBit(l.Paused))), math.Float64bits(l.Rate))
	for _, n := range l.Needs {
		b = binary.AppendUvarint(cursor.AppendBytes(b, n.Budget), uint64(n.N))
	}
	if l.Weight > 0 {
		b = binary.AppendUvarint(b, uint64(l.Weight))
	}
	return b
}

// reader decodes the value of a Record.
type reader struct{ cursor.Cursor }

// err returns an error if the Record is damaged.
func (r *reader) err() error {
	if r.Failed() {
		return errRecord
	}
	return nil
}

// int reads a number between 0 and limit.
func (r *reader) int(limit uint64) int { return int(r.Upto(limit)) }

func (r *reader) policy() (p Policy) {
	p.Attempts = r.int(1<<16 - 1)
	for _, d := range [...]*time.Duration{&p.Backoff, &p.MaxBackoff, &p.Soft, &p.Hard, &p.Keep} {
		*d = time.Duration(r.Uint() & math.MaxInt64)
	}
	return p
}

func (r *reader) next() (then []Next) {
	for range r.Count(1) {
		then = append(then, Next{r.String(), Priority(r.Byte()), r.policy()})
	}
	if !validNext(then) {
		r.Fail()
	}
	return then
}

func (r *reader) limits() (l Limits) {
	l.Queue[0], l.Queue[1], l.Queue[2] = r.int(math.MaxInt32), r.int(math.MaxInt32), r.int(math.MaxInt32)
	l.Concurrency, l.Burst = r.int(math.MaxInt32), r.int(math.MaxInt32)
	needs := r.Count(1)
	l.Paused = r.Byte()&1 != 0
	l.Rate = math.Float64frombits(r.Word())
	for range needs {
		l.Needs = append(l.Needs, Need{Budget: r.String(), N: r.int(math.MaxInt32)})
	}
	if len(r.Rest()) > 0 {
		l.Weight = r.int(MaxWeight)
	}
	return l
}

// Restore restores a Record of an earlier process. Call it for all Records in key order before the
// first Step, then send Restarted. It keeps neither slice. An error means that the Record is
// damaged; the queue is unchanged then.
func (q *Queue) Restore(key, value []byte) error {
	if err := q.restore(key, value); err != nil {
		return fmt.Errorf("queue: record %x: %w", key, err)
	}
	return nil
}

func (q *Queue) restore(key, value []byte) error {
	if len(key) == 0 {
		return errRecord
	}
	r := &reader{cursor.Over(value)}
	name := string(key[1:])
	if key[0] == 'n' {
		if len(key) != 1 || len(value) != 8 {
			return errRecord
		}
		q.seq = binary.BigEndian.Uint64(value)
		q.reserved = q.seq
		return nil
	}
	if r.Byte() != version {
		return errRecord
	}
	switch key[0] {
	case 'b':
		if size := r.Int(); !r.Failed() {
			b := q.ensureBudget(name)
			b.size, b.set = int(size), true
		}
		return r.err()
	case 'f':
		l := r.limits()
		if r.Failed() {
			return r.err()
		}
		f := q.ensureFunction(name)
		if f == nil {
			return errors.New("invalid function name, or too many functions")
		}
		q.setLimits(f, l.clean())
		return nil
	}
	if len(key) != 9 {
		return errRecord
	}
	id := ID(binary.BigEndian.Uint64(key[1:]))
	switch key[0] {
	case 'g':
		bits := r.Byte()
		g := &group{id: id, then: r.next(), open: bits&1 != 0, partial: bits&2 != 0, durable: true, lastUse: q.wheel.tick}
		if len(r.Rest()) > 0 {
			g.token = r.Word()
		}
		if !r.Failed() {
			q.groups[id] = g
			q.tokens.add(g.token, id)
			q.watchIdle()
		}
		return r.err()
	case 'e':
		return q.restoreEnded(id, r)
	case 'k':
		return q.restoreOrigin(id, r)
	case 't':
		return q.restoreTask(id, r)
	case 'u':
		return q.restoreUpdate(id, r)
	case 'v':
		return q.restoreSuccessor(id, r)
	}
	return errRecord
}

func (q *Queue) restoreTask(id ID, r *reader) error {
	name, fl := r.Bytes(), flags(r.Byte())
	var key Key
	if r.Byte() != 0 {
		key = Key{r.Word(), r.Word()}
	}
	due, size := r.Int(), r.Uint()
	pol := r.policy()
	token := r.Uint()
	var g *group
	at := 0
	if fl&grouped != 0 {
		g = q.groups[ID(r.Uint())]
		at = r.int(maxMembers - 1)
	}
	var then []Next
	if fl&chained != 0 {
		then = r.next()
	}
	if r.Failed() || len(name) > 512 || fl.rank() > 2 || due < 0 || size > math.MaxUint32 {
		return errRecord
	}
	i := id.slot()
	if i == 0 || q.tasks.hasMemory(i) && q.tasks.at(i).id != 0 {
		return errors.New("its slot is already in use")
	}
	f := q.functions[q.functionIndex[string(name)]]
	if f == nil {
		if f = q.ensureFunction(string(name)); f == nil {
			return errors.New("invalid function name, or too many functions")
		}
	}
	if !q.tasks.hasMemory(i) {
		q.tasks.grow(int(i >> chunkBits))
	}
	t := q.tasks.at(i)
	*t = task{id: id, fn: f.n, size: uint32(size), policy: q.policyOf(pol), state: Waiting, flags: (fl | durable | background) &^ (grouped | awaitsInput)}
	f.counts.Submitted++
	f.counts.In[Waiting]++
	f.taskCount++
	q.tokens.add(token, id)
	q.seq = max(q.seq, uint64(id>>slotBits))
	if g != nil {
		t.flags |= grouped
		q.memberOf[i] = member{g, at}
		for len(g.members) <= at {
			g.members = append(g.members, 0)
		}
		g.members[at] = id
		g.unfinished++
	}
	if key != (Key{}) {
		t.key = key
		q.rememberKey(i, q.lookUp(f.n, key))
	}
	if fl&chained != 0 {
		q.chains[i] = then
	}
	if due > 0 {
		q.setState(i, Delayed)
		q.setTimer(i, due)
	} else {
		q.enqueue(i, false)
	}
	return nil
}

func (q *Queue) restoreUpdate(id ID, r *reader) error {
	i := q.find(id)
	state, fl := State(r.Byte()), flags(r.Byte())
	tries, due, earlier := r.int(1<<16-1), r.Int(), 0
	if len(r.Rest()) > 0 {
		earlier = r.int(math.MaxInt32)
	}
	var l losses
	if len(r.Rest()) > 0 {
		l.total = r.int(1<<16 - 1)
		alone := r.int(1 << 18)
		l.isolated, l.lastIsolated, l.suspect = alone>>2, alone&2 != 0, alone&1 != 0
	}
	rerun := len(r.Rest()) > 0 && r.Byte() != 0
	if r.Failed() || fl.rank() > 2 || state == 0 || state >= states || state == Running || due < 0 || i == 0 || q.tasks.at(i).state.hasEnded() {
		return errRecord
	}
	q.removeFromList(i) // before its rank changes
	t := q.tasks.at(i)
	if t.attempts = uint16(tries); earlier > 0 {
		q.earlierAttempts[i] = earlier
	}
	if l.total > 0 {
		q.losses[i] = l
	}
	if rerun && !state.hasEnded() {
		q.reruns[i] = true
	}
	t.flags = t.flags&^rankMask | fl&rankMask | hasUpdate
	if m, ok := q.memberOf[i]; ok && fl&grouped == 0 {
		m.group.unfinished--
		q.leaveGroup(i)
	}
	if fl&chained == 0 {
		delete(q.chains, i)
		t.flags &^= chained
	}
	switch {
	case state.hasEnded():
		q.setState(i, state)
		t.flags |= fl & awaitsInput
		t.due = due
		if m, ok := q.memberOf[i]; ok && !q.resultNeeded(i) {
			m.group.unfinished--
		}
		q.fileRestored(i)
	case due > 0:
		q.setState(i, Delayed)
		q.setTimer(i, due)
	default:
		q.setState(i, Waiting)
		q.enqueue(i, false)
	}
	return nil
}

// fileRestored is fileEnded during Restore: it never forgets a task, as nothing may be written yet.
func (q *Queue) fileRestored(i int32) {
	t := q.tasks.at(i)
	switch {
	case t.flags&grouped != 0, q.resultNeeded(i):
		q.insertBefore(q.parked, i)
	case t.isDeadLetter():
		q.fileDead(i)
	default:
		q.setTimer(i, t.due)
	}
}

// restarted completes Restore: it finds the free slots and continues groups and chains.
func (q *Queue) restarted(origin uint64) {
	q.addOrigin(origin)
	q.tasks.free = q.tasks.free[:0] // tasks that expired meanwhile have been dropped already
	for c := len(q.tasks.chunks) - 1; c >= 0; c-- {
		for k := len(q.tasks.chunks[c]) - 1; k >= 0; k-- {
			if i := int32(c<<chunkBits | k); i > 0 && q.tasks.at(i).id == 0 {
				q.tasks.free = append(q.tasks.free, i)
			}
		}
	}
	var pending []int32
	for i := q.first(q.parked); i > 0; i = q.link(i).next {
		if q.resultNeeded(i) {
			pending = append(pending, i)
		}
	}
	for _, i := range pending {
		if next := q.newFollower(q.chains[i], q.tasks.at(i).flags); next != 0 {
			q.linkFollower(i, next)
		}
	}
	var ids []ID
	for id := range q.groups {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids {
		g := q.groups[id]
		failed := false
		for _, m := range g.members {
			i := q.find(m)
			failed = failed || i == 0 || q.tasks.at(i).state.hasEnded() && q.tasks.at(i).state != WasDone
		}
		if failed && !g.partial {
			q.endGroup(g, Failed, 0)
		} else {
			q.checkGroup(g)
		}
	}
}
