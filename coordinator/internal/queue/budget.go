package queue

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
)

// budget is a limited amount of something outside, such as database connections. Running tasks use
// parts of it, and so do holders: other parties with an Acquire. If tasks and holders both wait,
// they take turns, so neither starves. Among the holders, a small request never passes the first
// one. A holder that needs more than a whole budget does not wait in line: it would hold up all
// others.
type budget struct {
	size, used  int
	set         bool // the size was set, not declared
	waiters     []waiter
	holdersTurn bool // the next turn belongs to the holders
	functions   []*function
}

// canTake reports whether a task may take n now.
func (b *budget) canTake(n int) bool {
	return b.used+n <= b.size && !(b.holdersTurn && len(b.waiters) > 0)
}

func (b *budget) take(n int) {
	b.used += n
	b.holdersTurn = true
}

func (q *Queue) ensureBudget(name string) *budget {
	b := q.budgets[name]
	if b == nil {
		b = &budget{}
		q.budgets[name] = b
	}
	return b
}

func (q *Queue) setBudget(e *SetBudget) {
	b := q.ensureBudget(e.Budget)
	b.size, b.set = e.N, true
	q.write(0, NoPayload, append([]byte{'b'}, e.Budget...), binary.AppendVarint([]byte{version}, int64(e.N)))
	q.reconsider(e.Budget)
	q.distribute(b)
}

// declare gives a budget the size that its holders declare, while nobody has set one: the smallest
// size, but enough for each need. Without holders it keeps the last one. more are the needs of a
// holder to come.
func (q *Queue) declare(name string, more []Need) {
	b := q.ensureBudget(name)
	if b.set {
		return
	}
	least, most := 0, 0
	count := func(needs []Need) {
		for _, n := range needs {
			if n.Budget == name && n.Size > 0 {
				if most = max(most, n.N); least == 0 || n.Size < least {
					least = n.Size
				}
			}
		}
	}
	count(more)
	for _, h := range q.holders {
		count(h.needs)
	}
	if size := max(least, most); size > 0 && size != b.size {
		b.size = size
		q.reconsider(name)
		q.distribute(b)
	}
}

// holder is a party with an Acquire. It gets one budget after another, sorted by name, so that no
// two holders wait for each other.
type holder struct {
	needs    []Need
	acquired int // number of needs acquired; the next one is waited for
	// short means that a need exceeds its whole budget: the holder has and awaits nothing.
	short bool
}

// shortage returns the reason in words if a need exceeds its whole budget.
func (q *Queue) shortage(needs []Need) string {
	for _, n := range needs {
		if b := q.ensureBudget(n.Budget); n.N > b.size {
			name := quote(n.Budget)
			return fmt.Sprintf("needs %d of budget %s, which has size %d: layshaft task budget %s %d", n.N, name, b.size, name, n.N)
		}
	}
	return ""
}

// reconsider notices waiting holders whose needs became possible or impossible, when a budget
// changes its size.
func (q *Queue) reconsider(budget string) {
	for _, ref := range slices.Sorted(maps.Keys(q.holders)) {
		h := q.holders[ref]
		if h.acquired == len(h.needs) || !slices.ContainsFunc(h.needs, func(n Need) bool { return n.Budget == budget }) {
			continue
		}
		switch why := q.shortage(h.needs); {
		case why == "" && h.short:
			h.short = false
			q.emit(Command{Op: Short, Ref: ref})
			q.acquireNext(ref, h)
		case why != "":
			h.short = true
			q.emit(Command{Op: Short, Ref: ref, Function: why})
			q.giveBack(ref, h)
		}
	}
}

func (q *Queue) acquire(e *Acquire) {
	if _, ok := q.holders[e.Ref]; ok {
		return
	}
	h := &holder{needs: Limits{Needs: e.Needs}.clean().Needs}
	slices.SortFunc(h.needs, func(a, b Need) int { return cmp.Compare(a.Budget, b.Budget) })
	if e.Restored {
		for _, n := range h.needs {
			q.ensureBudget(n.Budget).used += n.N
		}
		h.acquired = len(h.needs)
	}
	for _, n := range h.needs {
		if n.Size > 0 {
			q.declare(n.Budget, h.needs)
		}
	}
	q.holders[e.Ref] = h
	if e.Restored {
		return
	}
	if why := q.shortage(h.needs); why != "" {
		h.short = true
		q.emit(Command{Op: Short, Ref: e.Ref, Function: why})
		return
	}
	q.acquireNext(e.Ref, h)
}

// acquireNext makes a holder wait for its next need, or sends Granted if it has all of them.
func (q *Queue) acquireNext(ref uint64, h *holder) {
	if h.acquired == len(h.needs) {
		q.emit(Command{Op: Granted, Ref: ref})
		return
	}
	b := q.ensureBudget(h.needs[h.acquired].Budget)
	b.waiters = append(b.waiters, waiter{ref, h.needs[h.acquired].N})
	q.grantFirst(b)
}

func (q *Queue) release(ref uint64) {
	h := q.holders[ref]
	if h == nil {
		return
	}
	delete(q.holders, ref)
	q.giveBack(ref, h)
	for _, n := range h.needs {
		if n.Size > 0 {
			q.declare(n.Budget, nil)
		}
	}
}

// giveBack returns what a holder has acquired, and ends its wait.
func (q *Queue) giveBack(ref uint64, h *holder) {
	touched := h.needs[:min(h.acquired+1, len(h.needs))]
	for i, n := range touched {
		b := q.budgets[n.Budget]
		if i < h.acquired {
			b.used -= n.N
		} else {
			b.waiters = slices.DeleteFunc(b.waiters, func(w waiter) bool { return w.ref == ref })
		}
	}
	h.acquired = 0
	for _, n := range touched {
		q.distribute(q.budgets[n.Budget])
	}
}

// distribute gives the free part of a budget to waiting tasks and holders.
func (q *Queue) distribute(b *budget) {
	for {
		if b.holdersTurn {
			q.grantFirst(b)
		}
		q.offerInTurn(b.functions)
		if !q.grantFirst(b) {
			return
		}
	}
}

// grantFirst gives the first waiting holder its amount and reports whether there was enough.
func (q *Queue) grantFirst(b *budget) bool {
	if len(b.waiters) == 0 || b.used+b.waiters[0].n > b.size {
		return false
	}
	w := b.waiters[0]
	b.waiters = b.waiters[1:]
	b.used += w.n
	b.holdersTurn = false
	h := q.holders[w.ref]
	h.acquired++
	q.acquireNext(w.ref, h)
	return true
}

// waiter is a holder waiting for n.
type waiter struct {
	ref uint64
	n   int
}
