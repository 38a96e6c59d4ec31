package report

import (
	"fmt"
	"time"

	"github.com/layshaft/layshaft/internal/bytesize"
)

// Backups is the state of the scheduled backups of a coordinator.
type Backups struct {
	To    string        `json:"to"`              // directory; empty without scheduled backups
	Every time.Duration `json:"every"`           // nanoseconds between two backups
	Last  time.Time     `json:"last,omitzero"`   // of the newest backup; zero without one
	Bytes int64         `json:"bytes"`           // its size
	Kept  int           `json:"kept"`            // number of backups in To
	Error string        `json:"error,omitempty"` // why the last try failed
}

// Trouble returns a sentence if somebody should look at the backups, else "".
func (b *Backups) Trouble(now time.Time) string {
	switch {
	case b.To == "":
		return ""
	case b.Error != "":
		return fmt.Sprintf("backup to %s failed: %s", b.To, b.Error)
	case !b.Last.IsZero() && now.Sub(b.Last) > 2*b.Every:
		return fmt.Sprintf("the last backup in %s is from %s", b.To, b.Last.UTC().Format("2006-01-02 15:04 UTC"))
	}
	return ""
}

// Summary describes the newest backup.
func (b *Backups) Summary() string {
	if b.Last.IsZero() {
		return "no backup yet in " + b.To
	}
	return fmt.Sprintf("last backup %s, %s, in %s; %s kept", b.Last.UTC().Format("2006-01-02 15:04 UTC"), bytesize.Format(b.Bytes), b.To, Plural(b.Kept, "backup"))
}
