package queue

import (
	"cmp"
	"encoding/binary"
	"slices"
)

// budget is an amount of something outside that running tasks and others hold parts of. Those others and tasks take turns when both
// wait, so that neither starves, and the first of the others is not passed by smaller ones.
type budget struct {
	size, used int
	waiters    []waiter
	theirs     bool // the turn of the others
	functions  []*function
}

// open tells whether a task may take n.
func (b *budget) open(n int) bool {
	return b.used+n <= b.size && !(b.theirs && len(b.waiters) > 0 && b.waiters[0].n <= b.size)
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
	q.write(0, NoPayload, append([]byte{'b'}, e.Budget...), binary.AppendVarint([]byte{version}, int64(e.N)))
	q.settleBudget(b)
}

// holder is one of the others. It gets what it needs budget by budget, in order of their names, so that no two wait for each other.
type holder struct {
	needs []Need
	got   int // of needs; it waits for the next one
}

func (q *Queue) acquire(e *Acquire) {
	if _, ok := q.holders[e.Ref]; ok {
		return
	}
	h := &holder{needs: Limits{Needs: e.Needs}.clean().Needs}
	slices.SortFunc(h.needs, func(a, b Need) int { return cmp.Compare(a.Budget, b.Budget) })
	q.holders[e.Ref] = h
	if e.Restored {
		for _, n := range h.needs {
			q.budget(n.Budget).used += n.N
		}
		h.got = len(h.needs)
		return
	}
	q.proceed(e.Ref, h)
}

// proceed has a holder wait for its next need, or tells that it has all.
func (q *Queue) proceed(ref uint64, h *holder) {
	if h.got == len(h.needs) {
		q.emit(Command{Op: Granted, Ref: ref})
		return
	}
	b := q.budget(h.needs[h.got].Budget)
	b.waiters = append(b.waiters, waiter{ref, h.needs[h.got].N})
	q.grantOne(b)
}

func (q *Queue) release(ref uint64) {
	h := q.holders[ref]
	if h == nil {
		return
	}
	delete(q.holders, ref)
	touched := h.needs[:min(h.got+1, len(h.needs))]
	for i, n := range touched {
		b := q.budgets[n.Budget]
		if i < h.got {
			b.used -= n.N
		} else {
			b.waiters = slices.DeleteFunc(b.waiters, func(w waiter) bool { return w.ref == ref })
		}
	}
	for _, n := range touched {
		q.settleBudget(q.budgets[n.Budget])
	}
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
	if len(b.waiters) == 0 || b.used+b.waiters[0].n > b.size {
		return false
	}
	w := b.waiters[0]
	b.waiters = b.waiters[1:]
	b.used += w.n
	b.theirs = false
	h := q.holders[w.ref]
	h.got++
	q.proceed(w.ref, h)
	return true
}

// waiter waits for n of a budget.
type waiter struct {
	ref uint64
	n   int
}
