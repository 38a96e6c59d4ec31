package queue

import "math/bits"

// wheel is a hierarchical timer wheel with ticks of one millisecond. Setting and removing a timer
// cost the same for any number of timers.
//
// Level l has one list for each value of digit l (base 64) of the tick. A task is at the level of
// the highest digit in which its tick differs from the present tick, and moves down when the
// present reaches that digit. For example, at tick 100 (digits 1, 36) a timer for tick 103 (1, 39)
// is at level 0 in list 39; one for tick 200 (3, 8) is at level 1 in list 3.
//
// Timers of the same tick fire in the order in which they were set.
type wheel struct {
	tick int64               // present tick
	used [wheelLevels]uint64 // bits of lists that may not be empty
}

const (
	wheelLevels = 8
	digitBits   = 6
	digits      = 1 << digitBits
	maxTick     = 1<<(wheelLevels*digitBits) - 1
)

// wheelHead returns the head of a list of the wheel. New creates these heads first.
func wheelHead(level, digit int) int32 { return -int32(level*digits+digit) - 1 }

// setTimer puts task i in the wheel. Its timer fires no earlier than tick at.
func (q *Queue) setTimer(i int32, at int64) {
	at = min(max(at, q.wheel.tick+1), maxTick)
	q.tasks.at(i).due = at
	q.insertTimer(i, at)
}

func (q *Queue) insertTimer(i int32, at int64) {
	w := &q.wheel
	level := 0
	if diff := uint64(at ^ w.tick); diff != 0 {
		level = (bits.Len64(diff) - 1) / digitBits
	}
	digit := int(at>>(level*digitBits)) & (digits - 1)
	w.used[level] |= 1 << digit
	q.insertBefore(wheelHead(level, digit), i)
}

// nextTimers returns the earliest list that is not empty, and the tick at which it begins. If all
// are empty, ok is false.
func (q *Queue) nextTimers() (level int, head int32, begins int64, ok bool) {
	w := &q.wheel
	for level := range wheelLevels {
		shift := level * digitBits
		now := int(w.tick>>shift) & (digits - 1)
		for {
			after := w.used[level] &^ (1<<now - 1)
			if level > 0 {
				after &^= 1 << now
			}
			if after == 0 {
				break
			}
			digit := bits.TrailingZeros64(after)
			if head := wheelHead(level, digit); q.first(head) != 0 {
				return level, head, w.tick>>(shift+digitBits)<<(shift+digitBits) | int64(digit)<<shift, true
			}
			w.used[level] &^= 1 << digit
		}
	}
	return 0, 0, 0, false
}

// advanceWheel moves the present to tick to and fires the expired timers.
func (q *Queue) advanceWheel(to int64) {
	for {
		level, head, begins, ok := q.nextTimers()
		if !ok || begins > to {
			q.wheel.tick = max(q.wheel.tick, to)
			return
		}
		q.wheel.tick = begins
		for i := q.first(head); i != 0; i = q.first(head) {
			q.unlink(i)
			if level > 0 {
				q.insertTimer(i, q.tasks.at(i).due)
			} else {
				q.fireTimer(i)
			}
		}
	}
}
