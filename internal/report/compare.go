package report

import (
	"fmt"
	"time"
)

// Comparison compares two runs of one program. Compare makes it.
type Comparison struct {
	Before *RunView       `json:"before"` // the earlier run
	After  *RunView       `json:"after"`  // the later one
	Stages []StageCompare `json:"stages"` // of After, then the stages that only Before has
	// Findings are sentences about what got slower or faster, the largest change first.
	Findings []string `json:"findings"`
}

// StageCompare compares a stage. Numbers of a missing stage are zero.
type StageCompare struct {
	Stage      string  `json:"stage"`
	Operators  string  `json:"operators"`
	BusyBefore Seconds `json:"busy_before_seconds"`
	BusyAfter  Seconds `json:"busy_after_seconds"`
	// MedianBefore and MedianAfter are the median times of an attempt.
	MedianBefore Seconds `json:"median_before_seconds"`
	MedianAfter  Seconds `json:"median_after_seconds"`
	// ReadBefore and ReadAfter are the bytes read.
	ReadBefore int64 `json:"read_before_bytes"`
	ReadAfter  int64 `json:"read_after_bytes"`
	// FailedBefore and FailedAfter count failed attempts.
	FailedBefore int `json:"failed_before"`
	FailedAfter  int `json:"failed_after"`
	// Change is the relative change of Busy: 0.5 means half as much again.
	Change float64 `json:"change"`
}

// Compare compares two runs. The stages are matched by their operators.
func Compare(before, after *RunView) *Comparison {
	c := &Comparison{Before: before, After: after, Stages: []StageCompare{}, Findings: []string{}}
	used := make([]bool, len(before.Stages))
	for k := range after.Stages {
		s := StageCompare{Stage: fmt.Sprint(k), Operators: after.Stages[k].Stage}
		s.fill(after, k, &s.BusyAfter, &s.MedianAfter, &s.ReadAfter, &s.FailedAfter)
		for b := range before.Stages {
			if !used[b] && before.Stages[b].Stage == after.Stages[k].Stage {
				used[b] = true
				s.fill(before, b, &s.BusyBefore, &s.MedianBefore, &s.ReadBefore, &s.FailedBefore)
				break
			}
		}
		c.Stages = append(c.Stages, s)
	}
	for b := range before.Stages {
		if !used[b] {
			s := StageCompare{Stage: "-", Operators: before.Stages[b].Stage}
			s.fill(before, b, &s.BusyBefore, &s.MedianBefore, &s.ReadBefore, &s.FailedBefore)
			c.Stages = append(c.Stages, s)
		}
	}
	if before.Took > 0 && after.Took > 0 {
		c.Findings = append(c.Findings, fmt.Sprintf("the job took %s, before %s: %s", seconds(after.Took), seconds(before.Took), change(float64(after.Took), float64(before.Took))))
	}
	var worst *StageCompare
	for i := range c.Stages {
		s := &c.Stages[i]
		if s.BusyBefore > 0 {
			s.Change = float64(s.BusyAfter/s.BusyBefore) - 1
		}
		if d := s.BusyAfter - s.BusyBefore; s.BusyBefore > 0 && s.BusyAfter > 0 && (worst == nil || abs(d) > abs(worst.BusyAfter-worst.BusyBefore)) {
			worst = s
		}
	}
	if worst != nil && abs(worst.BusyAfter-worst.BusyBefore) > 0 {
		text := fmt.Sprintf("stage %s, %s, changed most: %s of work, before %s", worst.Stage, worst.Operators, seconds(worst.BusyAfter), seconds(worst.BusyBefore))
		if worst.ReadBefore > 0 && worst.ReadAfter > 0 {
			text += fmt.Sprintf("; it read %s", change(float64(worst.ReadAfter), float64(worst.ReadBefore)))
		}
		c.Findings = append(c.Findings, text)
	}
	return c
}

func (s *StageCompare) fill(v *RunView, k int, busy, median *Seconds, read *int64, failed *int) {
	*busy, *read, *failed = v.Runs[k].Busy, v.Stages[k].ReadBytes, v.Stages[k].FailedAttempts
	for _, c := range v.Runs[k].Columns {
		if c.Unit == "ns" {
			*median = SecondsOf(time.Duration(c.Values[2]))
		}
	}
}

func abs(s Seconds) Seconds { return max(s, -s) }

func seconds(s Seconds) string { return s.Duration().Round(time.Millisecond).String() }

// change describes a change in words.
func change(after, before float64) string {
	switch r := after / before; {
	case r >= 1.02:
		return fmt.Sprintf("%.0f %% more", 100*(r-1))
	case r <= 0.98:
		return fmt.Sprintf("%.0f %% less", 100*(1-r))
	}
	return "about the same"
}
