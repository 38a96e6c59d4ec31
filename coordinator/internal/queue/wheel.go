package queue

import "math/bits"

// The wheel holds tasks with a timer, by tick of one millisecond, in lists of their own: putting in and taking out cost the same
// whatever there is. Level l has a list for each value of digit l (base 64) of the tick; a task is at the level of the highest digit
// in which its tick differs from the present one, and moves down when the present reaches that digit. Those of one tick fire
// in the order in which they were put in.
type wheel struct {
	tick int64               // the present
	used [wheelLevels]uint64 // which lists may not be empty
}

const (
	wheelLevels = 8
	digitBits   = 6
	digits      = 1 << digitBits
	maxTick     = 1<<(wheelLevels*digitBits) - 1
)

// The lists of the wheel are the first heads.
func wheelHead(level, digit int) int32 { return -int32(level*digits+digit) - 1 }

// setTimer puts task i in the wheel; it fires no earlier than tick at.
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

// nextTimers returns the first list that is not empty and the tick at which it begins, or ok false when there is none.
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

// advanceWheel moves the present to tick to and fires what is due.
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
