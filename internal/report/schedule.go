package report

import (
	"fmt"
	"strings"
	"time"
)

// Schedule is the state of a schedule. The task server fills it, and all views show it: `layshaft
// schedule list`, the pages, /api/v1/schedules and the metrics.
type Schedule struct {
	Name     string   `json:"name"`              // unique in the cluster
	Cron     string   `json:"cron"`              // expression with five fields, or a word such as @daily
	Zone     string   `json:"zone"`              // time zone of the expression
	CatchUp  string   `json:"catch_up"`          // last, skip or all
	Overlap  string   `json:"overlap"`           // skip, queue or replace
	Function string   `json:"function"`          // function of its tasks
	Program  []string `json:"program,omitempty"` // name and arguments; empty for a task
	Priority string   `json:"priority"`          // normal, high or low
	// Jitter is the largest delay of a time, in nanoseconds.
	Jitter  time.Duration `json:"jitter,omitempty"`
	Paused  bool          `json:"paused"`  // it does not fire by itself
	Created time.Time     `json:"created"` // when it was first defined
	// Next is the next time, without jitter; zero while it is paused.
	Next time.Time `json:"next,omitzero"`
	// Due is Next with jitter.
	Due time.Time `json:"due,omitzero"`
	// Task is the ID of the task that has not ended; empty means none.
	Task    string `json:"task,omitempty"`
	Waiting int    `json:"waiting"` // times that wait for the end of the task
	// Problem is why it does not fire, in words, or empty.
	Problem string `json:"problem,omitempty"`
	// Success is when a task last ended well; zero means never.
	Success time.Time      `json:"success,omitzero"`
	Counts  ScheduleCounts `json:"counts"`  // since it was defined
	History []ScheduleFire `json:"history"` // the latest first
}

// ScheduleCounts counts the times of a schedule: Due = Fired + Skipped + Missed + waiting times.
type ScheduleCounts struct {
	Due     int `json:"due"`     // times so far, with those on request
	Fired   int `json:"fired"`   // tasks submitted
	Skipped int `json:"skipped"` // times skipped, as the last task had not ended
	Missed  int `json:"missed"`  // times at which no coordinator was there
	Failed  int `json:"failed"`  // tasks that failed
}

// ScheduleFire is what became of a time of a schedule.
type ScheduleFire struct {
	Time    time.Time `json:"time"`             // of several, the last one
	Started time.Time `json:"started,omitzero"` // zero if no task was submitted
	Ended   time.Time `json:"ended,omitzero"`   // zero if the task has not ended
	Task    string    `json:"task,omitempty"`   // its ID
	Outcome string    `json:"outcome"`          // running, done, failed, cancelled, replaced, skipped, missed or unknown
	Count   int       `json:"count"`            // number of times
	Manual  bool      `json:"manual,omitempty"` // on request
}

// ScheduleTime is the form of times of schedules, in their time zones.
const ScheduleTime = "2006-01-02 15:04:05 MST"

// Runs returns the program with its arguments, or the function, for people.
func (s *Schedule) Runs() string {
	if len(s.Program) > 0 {
		return strings.Join(s.Program, " ")
	}
	return "task " + s.Function
}

// State returns the state of s in one word: paused, stuck, running, or waiting for its next time.
func (s *Schedule) State() string {
	switch {
	case s.Problem != "":
		return "stuck"
	case s.Task != "":
		return "running"
	case s.Paused:
		return "paused"
	}
	return "waiting"
}

// Last returns the latest outcome in words, such as "failed" or "skipped 3", or "".
func (s *Schedule) Last() string {
	if len(s.History) == 0 {
		return ""
	}
	if h := &s.History[0]; h.Count > 1 {
		return fmt.Sprintf("%s %d", h.Outcome, h.Count)
	}
	return s.History[0].Outcome
}

// Late reports whether somebody should look at the schedule: its last task failed, or it is stuck.
func (s *Schedule) Late() bool {
	if s.Problem != "" {
		return true
	}
	for _, h := range s.History {
		switch h.Outcome {
		case "failed":
			return true
		case "done":
			return false
		}
	}
	return false
}
