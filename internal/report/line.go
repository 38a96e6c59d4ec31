package report

import (
	"slices"
	"strings"
	"time"
)

// Line is a line that user code wrote to its standard output or error, or to its log.
type Line struct {
	Number int64     `json:"number"` // orders the lines of a job; it only grows, over restarts too
	At     time.Time `json:"at"`     // by the clock of the worker
	Worker string    `json:"worker"` // name of the worker
	// Attempts are the attempts that may have written it: one if it is known, all attempts of the
	// process if it is not, and none between attempts. Each is STAGE/INDEX#N.
	Attempts []string `json:"attempts"`
	Text     string   `json:"text"`              // without the end of the line
	Omitted  int64    `json:"omitted,omitempty"` // number of lines of the worker before this one that were not kept
}

// By reports whether the attempt, or an attempt of the task or of the stage, may have written the
// line: of is STAGE/INDEX#N, STAGE/INDEX or STAGE. Empty means any attempt.
func (l *Line) By(of string) bool {
	return of == "" || slices.ContainsFunc(l.Attempts, func(a string) bool {
		return a == of || strings.HasPrefix(a, of) && (a[len(of)] == '/' || a[len(of)] == '#')
	})
}

// Writer names the attempt that wrote the line: an attempt, "one of" several, or "-" for none.
func (l *Line) Writer() string {
	switch len(l.Attempts) {
	case 0:
		return "-"
	case 1:
		return l.Attempts[0]
	}
	return "one of " + strings.Join(l.Attempts, ",")
}
