package cron

import (
	"math/bits"
	"time"
)

const (
	day = 24 * 60 * 60 // in seconds
	// around is more than the largest difference between a time zone and UTC, in seconds. Between
	// two moments so far apart, a zone changes its clock once at most.
	around = 15 * 60 * 60
	// horizon is longer than the time between any two fires, in days: the next 29th of February on
	// a Sunday may be 40 years away.
	horizon = 41 * 366
)

// Next returns the first time after t at which the expression fires, in its time zone.
func (e *Expression) Next(t time.Time) time.Time {
	after := t.Unix()
	local := t.In(e.loc)
	first := time.Date(local.Year(), local.Month(), local.Day(), 0, 0, 0, 0, time.UTC).AddDate(0, 0, -1)
	for n := range horizon {
		date := first.AddDate(0, 0, n)
		if !e.matchesDate(date) {
			continue
		}
		if at, ok := e.nextOn(date.Unix(), after); ok {
			// Where a clock goes back at midnight, a time of the next date may come earlier.
			if following := date.AddDate(0, 0, 1); e.changes(date.Unix()) && e.matchesDate(following) {
				if other, ok := e.nextOn(following.Unix(), after); ok {
					at = min(at, other)
				}
			}
			return time.Unix(at, 0).In(e.loc)
		}
	}
	return time.Time{} // Parse refuses such expressions
}

// changes reports whether the zone changes its clock on a date or near to it. The date is its
// midnight as if it were in UTC.
func (e *Expression) changes(date int64) bool {
	return e.offset(date-around) != e.offset(date+day+around)
}

// offset returns the difference to UTC at a moment, in seconds.
func (e *Expression) offset(at int64) int64 {
	_, offset := time.Unix(at, 0).In(e.loc).Zone()
	return int64(offset)
}

// nextOn returns the first moment after another one at which the expression fires on a date.
func (e *Expression) nextOn(date, after int64) (int64, bool) {
	if e.changes(date) {
		return e.nextOnChange(date, after)
	}
	offset := e.offset(date)
	past := after + offset - date // seconds of this date that are over
	minute := int64(-1)           // of the date
	if past >= 0 {
		minute = past / 60
	}
	for hour := int64(0); hour < 24; hour++ {
		if e.hours&(1<<hour) == 0 || hour*60+59 <= minute {
			continue
		}
		left := e.minutes
		if from := minute + 1 - hour*60; from > 0 {
			left &^= 1<<from - 1
		}
		if left != 0 {
			return date + hour*3600 + int64(bits.TrailingZeros64(left))*60 - offset, true
		}
	}
	return 0, false
}

// nextOnChange is nextOn for a date on which the clock may change.
func (e *Expression) nextOnChange(date, after int64) (next int64, ok bool) {
	for hour := range int64(24) {
		if e.hours&(1<<hour) == 0 {
			continue
		}
		for left := e.minutes; left != 0; left &= left - 1 {
			first, second := e.moments(date + hour*3600 + int64(bits.TrailingZeros64(left))*60)
			if first > after && (!ok || first < next) {
				next, ok = first, true
			}
			if e.everyHour() && second > after && (!ok || second < next) {
				next, ok = second, true
			}
		}
	}
	return next, ok
}

// moments returns the two moments at which a clock on the wall shows a time, which are mostly the
// same. For a time that the clock skips, both are the moment of the change.
func (e *Expression) moments(wall int64) (first, second int64) {
	early, late := wall-e.offset(wall-around), wall-e.offset(wall+around)
	earlyFits, lateFits := early+e.offset(early) == wall, late+e.offset(late) == wall
	switch {
	case earlyFits && lateFits:
		return min(early, late), max(early, late)
	case earlyFits:
		return early, early
	case lateFits:
		return late, late
	}
	change, _ := time.Unix(early, 0).In(e.loc).ZoneBounds()
	return change.Unix(), change.Unix()
}
