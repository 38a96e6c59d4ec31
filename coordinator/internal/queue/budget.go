package queue

import "encoding/binary"

// budget is an amount of something outside that running tasks and others hold parts of. Those others and tasks take turns when both
// wait, so that neither starves, and the first of the others is not passed by smaller ones.
type budget struct {
	size, used int
	waiters    []Acquire
	theirs     bool // the turn of the others
	functions  []*function
}

// open tells whether a task may take n.
func (b *budget) open(n int) bool {
	return b.used+n <= b.size && !(b.theirs && len(b.waiters) > 0 && b.waiters[0].Need.N <= b.size)
}

func (b *budget) take(n int) {
	b.used += n
	b.theirs = true
}

func (q *Queue) budget(name string) *budget {
	b := q.budgets[name]
	if b == nil {
		b = &budget{}
		q.budgets[name] = b
	}
	return b
}

func (q *Queue) setBudget(e *SetBudget) {
	b := q.budget(e.Budget)
	b.size = e.N
	q.write(0, None, append([]byte{'b'}, e.Budget...), binary.AppendVarint([]byte{version}, int64(e.N)))
	q.settleBudget(b)
}

func (q *Queue) acquire(e *Acquire) {
	if _, ok := q.holders[e.Ref]; ok {
		return
	}
	b := q.budget(e.Need.Budget)
	q.holders[e.Ref] = Need{e.Need.Budget, 0}
	b.waiters = append(b.waiters, *e)
	q.grantOne(b)
}

func (q *Queue) release(ref uint64) {
	n, ok := q.holders[ref]
	if !ok {
		return
	}
	delete(q.holders, ref)
	b := q.budget(n.Budget)
	b.used -= n.N
	for i, w := range b.waiters {
		if w.Ref == ref {
			b.waiters = append(b.waiters[:i:i], b.waiters[i+1:]...)
			break
		}
	}
	q.settleBudget(b)
}

// settleBudget gives to those that wait what is free.
func (q *Queue) settleBudget(b *budget) {
	for {
		if b.theirs {
			q.grantOne(b)
		}
		q.offerAll(b.functions)
		if !q.grantOne(b) {
			return
		}
	}
}

// grantOne gives the first of the others what it waits for, if there is enough.
func (q *Queue) grantOne(b *budget) bool {
	if len(b.waiters) == 0 || b.used+b.waiters[0].Need.N > b.size {
		return false
	}
	w := b.waiters[0]
	b.waiters = b.waiters[1:]
	b.used += w.Need.N
	b.theirs = false
	q.holders[w.Ref] = w.Need
	q.emit(Command{Op: Granted, Ref: w.Ref})
	return true
}
