package report

import (
	"fmt"
	"strings"
)

// Coordinator is the state of one of several coordinators. Package node fills it, and all views
// show it: `layshaft coordinator members`, `layshaft status`, the status page, /api/status and the
// metrics.
type Coordinator struct {
	// ID is the lasting ID of the coordinator's data directory.
	ID      string `json:"id"`
	Address string `json:"address"`
	// Leader means that this coordinator decides.
	Leader bool `json:"leader"`
	// Voter means that the coordinator counts for majorities.
	Voter bool             `json:"voter"`
	State CoordinatorState `json:"state"`
	// Behind counts the log entries of the leader that this coordinator has not applied. It is zero
	// if the coordinator is unreachable.
	Behind int64 `json:"behind"`
	// Reason explains the state in words. If it is Current, it is empty or names damaged files that
	// were kept.
	Reason string `json:"reason,omitempty"`
}

// CoordinatorState is the state of one of several coordinators.
type CoordinatorState string

// The states of a coordinator.
const (
	Current     CoordinatorState = "ready"
	Lagging     CoordinatorState = "behind"
	Unreachable CoordinatorState = "unreachable"
)

// CoordinatorStates are all states of a coordinator.
var CoordinatorStates = []CoordinatorState{Current, Lagging, Unreachable}

// Coordinators are the coordinators of a cluster.
type Coordinators struct {
	// Members are the coordinators, by address; a single coordinator has none.
	Members []Coordinator `json:"members"`
	// Stale explains in words why this is not the answer of a leader; empty if it is.
	Stale string `json:"stale,omitempty"`
	// Warning explains in words what an operator should change; it may be empty.
	Warning string `json:"warning,omitempty"`
}

// Leader returns the address of the leader, or "".
func (c *Coordinators) Leader() string {
	for _, m := range c.Members {
		if m.Leader {
			return m.Address
		}
	}
	return ""
}

// In returns the number of coordinators in a state.
func (c *Coordinators) In(s CoordinatorState) (n int) {
	for _, m := range c.Members {
		if m.State == s {
			n++
		}
	}
	return n
}

// Behind returns how many log entries the slowest coordinator that answers has still to apply.
func (c *Coordinators) Behind() (n int64) {
	for _, m := range c.Members {
		n = max(n, m.Behind)
	}
	return n
}

// Summary describes the coordinators in one line. It is empty for a single coordinator.
func (c *Coordinators) Summary() string {
	if len(c.Members) == 0 {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s, ", Plural(len(c.Members), "coordinator"))
	if leader := c.Leader(); leader != "" {
		fmt.Fprintf(&b, "%s leads", leader)
	} else {
		b.WriteString("none leads")
	}
	for _, m := range c.Members {
		if m.State != Current {
			fmt.Fprintf(&b, "; %s", m.Trouble())
		}
	}
	return b.String()
}

// Trouble describes in words why somebody should look at a coordinator; empty if nobody needs to.
func (m *Coordinator) Trouble() string {
	switch m.State {
	case Unreachable:
		return m.Address + " is unreachable"
	case Lagging:
		return fmt.Sprintf("%s is %d log entries behind", m.Address, m.Behind)
	}
	return ""
}

// Majority returns how many of n coordinators must agree.
func Majority(n int) int { return n/2 + 1 }

// CountWarning explains in words why a number of coordinators is unwise; empty if it is not.
func CountWarning(n int) string {
	switch {
	case n == 1:
		return "one coordinator survives no loss: add two more"
	case n == 2:
		return "two coordinators survive no loss, since both are needed for a majority: add a third one"
	case n > 0 && n%2 == 0:
		return fmt.Sprintf("%d coordinators survive the loss of no more than %d, as %d do: add or remove one", n, n-Majority(n), n-1)
	}
	return ""
}
