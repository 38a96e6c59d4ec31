// Package cron reads cron expressions and computes when they fire.
//
// An expression has five fields: minute, hour, day of the month, month, day of the week. A field is
// a list of numbers, names and ranges, such as "1,15", "mon-fri" or "8-18/2". An asterisk means all
// values. One word takes the place of all five fields: @hourly, @daily, @weekly, @monthly, @yearly.
//
// If both days are restricted, a date matches when either of them does, as in every cron.
//
// # Daylight saving
//
// Fields are compared with the clock on the wall of a time zone. Two rules decide what happens
// when this clock is changed:
//
//   - A time that the clock skips counts at the moment of the change. "30 2 * * *" fires at 03:00
//     summer time in Berlin, once, on the day on which 02:30 does not exist.
//   - A time that comes twice counts the first time only. An expression that fires in all 24 hours
//     of its days counts both times, so that "*/15 * * * *" fires every 15 minutes of real time.
//
// The package has no clock and reads no files.
package cron

import (
	"fmt"
	"math/bits"
	"strconv"
	"strings"
	"time"
)

// Expression is a parsed cron expression in a time zone.
type Expression struct {
	// Each field has bit N set if it contains the number N.
	minutes, hours, days, months, weekdays uint64
	anyDay, anyWeekday                     bool
	loc                                    *time.Location
}

// field describes one field of an expression.
type field struct {
	name     string
	min, max int
	names    []string // names[i] stands for min+i
}

var fields = [...]field{
	{"minute", 0, 59, nil},
	{"hour", 0, 23, nil},
	{"day of the month", 1, 31, nil},
	{"month", 1, 12, []string{"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}},
	{"day of the week", 0, 7, []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}},
}

var macros = map[string]string{
	"@yearly":   "0 0 1 1 *",
	"@annually": "0 0 1 1 *",
	"@monthly":  "0 0 1 * *",
	"@weekly":   "0 0 * * 0",
	"@daily":    "0 0 * * *",
	"@midnight": "0 0 * * *",
	"@hourly":   "0 * * * *",
}

// maxLength is the longest expression, in bytes.
const maxLength = 512

// Parse reads an expression for the time zone loc. It refuses an expression that never fires, such
// as the 30th of February.
func Parse(text string, loc *time.Location) (Expression, error) {
	e, err := parse(text)
	if err != nil {
		if len(text) > maxLength {
			text = text[:maxLength] + "…"
		}
		return Expression{}, fmt.Errorf("cron expression %q: %w", text, err)
	}
	e.loc = loc
	return e, nil
}

func parse(text string) (e Expression, err error) {
	if len(text) > maxLength {
		return e, fmt.Errorf("it has %d bytes; %d is the limit", len(text), maxLength)
	}
	words := strings.Fields(text)
	if len(words) == 1 && strings.HasPrefix(words[0], "@") {
		expanded, ok := macros[strings.ToLower(words[0])]
		switch name, _, _ := strings.Cut(strings.ToLower(words[0]), ":"); {
		case ok:
			words = strings.Fields(expanded)
		case name == "@reboot":
			return e, fmt.Errorf("@reboot is not supported, as a cluster does not boot; submit a task instead")
		default:
			return e, fmt.Errorf("%s is unknown; write @hourly, @daily, @weekly, @monthly or @yearly", words[0])
		}
	}
	switch {
	case len(words) > 0 && strings.EqualFold(words[0], "@every"):
		return e, fmt.Errorf("@every is not supported, as it depends on the start of a process; \"*/15 * * * *\" fires every 15 minutes")
	case len(words) == 6 || len(words) == 7:
		return e, fmt.Errorf("it has %d fields, but seconds and years are not supported; write five: minute, hour, day of the month, month, day of the week", len(words))
	case len(words) == 1:
		return e, fmt.Errorf("it has 1 field; write five: minute, hour, day of the month, month, day of the week, or one word such as @daily")
	case len(words) != len(fields):
		return e, fmt.Errorf("it has %d fields; write five: minute, hour, day of the month, month, day of the week, or one word such as @daily", len(words))
	}
	for i, to := range [...]*uint64{&e.minutes, &e.hours, &e.days, &e.months, &e.weekdays} {
		if *to, err = fields[i].parse(words[i]); err != nil {
			return e, fmt.Errorf("%s: %w", fields[i].name, err)
		}
	}
	if e.weekdays&(1<<7) != 0 { // Sunday is 0 and 7
		e.weekdays = e.weekdays&^(1<<7) | 1
	}
	e.anyDay, e.anyWeekday = strings.HasPrefix(words[2], "*"), strings.HasPrefix(words[4], "*")
	if !e.hasDate() {
		return e, fmt.Errorf("it never fires: no month of field %q has a day of field %q", words[3], words[2])
	}
	return e, nil
}

// parse returns the set of the numbers in a field.
func (f *field) parse(text string) (set uint64, err error) {
	for item := range strings.SplitSeq(text, ",") {
		one, err := f.parseItem(strings.ToLower(item))
		if err != nil {
			return 0, err
		}
		set |= one
	}
	return set, nil
}

func (f *field) parseItem(item string) (set uint64, err error) {
	span, stepText, hasStep := strings.Cut(item, "/")
	low, high := f.min, f.max
	from, to, isRange := strings.Cut(span, "-")
	switch {
	case span == "":
		return 0, fmt.Errorf("%q has an empty part; write * for all values", item)
	case span == "*":
		if f.max == 7 {
			high = 6
		}
	default:
		if low, err = f.number(from); err != nil {
			return 0, err
		}
		if high = low; isRange {
			if high, err = f.number(to); err != nil {
				return 0, err
			}
		}
	}
	if f.max == 7 && isRange && high == 0 { // "fri-sun"
		high = 7
	}
	if low > high {
		return 0, fmt.Errorf("range %q ends before it begins; write two ranges with a comma between them", span)
	}
	step := 1
	if hasStep {
		if span != "*" && !isRange {
			return 0, fmt.Errorf("%q has a step without a range; write %s-%d/%s", item, span, f.max, stepText)
		}
		step, err = strconv.Atoi(stepText)
		if err != nil || step < 1 {
			return 0, fmt.Errorf("step %q must be a number from 1", stepText)
		}
		if step > high-low {
			return 0, fmt.Errorf("step %d is larger than its range; write the value itself", step)
		}
	}
	for n := low; n <= high; n += step {
		set |= 1 << n
	}
	return set, nil
}

func (f *field) number(text string) (int, error) {
	for i, name := range f.names {
		if text == name {
			return f.min + i, nil
		}
	}
	n, err := strconv.Atoi(text)
	switch {
	case err == nil && n >= f.min && n <= f.max && text[0] != '+':
		return n, nil
	case err == nil:
		return 0, fmt.Errorf("%s is not between %d and %d", text, f.min, f.max)
	case strings.ContainsAny(text, "l#w?") && (text == "?" || strings.Trim(text, "0123456789lw#?") == ""):
		return 0, fmt.Errorf("%q is not supported: L, W, # and ? have no meaning in standard cron; write *, or fire on more days and let the task check the date", text)
	case len(f.names) > 0:
		return 0, fmt.Errorf("%q is neither a number nor one of %s", text, strings.Join(f.names, ", "))
	}
	return 0, fmt.Errorf("%q is not a number", text)
}

// hasDate reports whether any date matches.
func (e *Expression) hasDate() bool {
	if !e.anyWeekday { // either day may match, or the day of the month is any
		return true
	}
	for month := 1; month <= 12; month++ {
		if e.months&(1<<month) != 0 && e.days&(1<<(longest(month)+1)-1) != 0 {
			return true
		}
	}
	return false
}

// longest returns the largest number of days that a month may have.
func longest(month int) int {
	return time.Date(2024, time.Month(month)+1, 0, 0, 0, 0, 0, time.UTC).Day()
}

// matchesDate reports whether the expression fires on a date, given as midnight in UTC.
func (e *Expression) matchesDate(day time.Time) bool {
	if e.months&(1<<day.Month()) == 0 {
		return false
	}
	inMonth, inWeek := e.days&(1<<day.Day()) != 0, e.weekdays&(1<<day.Weekday()) != 0
	if e.anyDay || e.anyWeekday {
		return inMonth && inWeek
	}
	return inMonth || inWeek
}

// everyHour reports whether the expression fires in all hours of its days.
func (e *Expression) everyHour() bool { return bits.OnesCount64(e.hours) == 24 }
