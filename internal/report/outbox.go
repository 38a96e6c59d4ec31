package report

import "time"

// Outbox is the state of an outbox of PostgreSQL whose tasks a coordinator forwards.
type Outbox struct {
	Database string        `json:"database"`
	Waiting  int64         `json:"waiting"`          // tasks that are not queued yet, counted up to 100,000
	Oldest   time.Duration `json:"oldest,omitempty"` // age of the oldest one
	Refused  int64         `json:"refused"`          // tasks that were refused for good
	Reason   string        `json:"reason,omitempty"` // of the latest one
	Slots    []Slot        `json:"slots,omitempty"`
	Error    string        `json:"error,omitempty"` // why its state is not known
}

// Slot is the state of a logical replication slot.
type Slot struct {
	Name   string `json:"name"`
	Active bool   `json:"active"` // a process reads from it
	Lag    int64  `json:"lag"`    // bytes of log that the database keeps for it
}

// Late reports whether somebody should look at the outbox.
func (o *Outbox) Late() bool {
	return o.Error != "" || o.Refused > 0 || o.Oldest > time.Minute
}
