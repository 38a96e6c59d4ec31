package coordinator

import (
	"log/slog"

	"github.com/layshaft/layshaft/coordinator/internal/journal"
)

// OpenJournal opens the journal in dir, and creates dir when it is missing. Every append is synced
// to disk. It fails when another process has the journal open, when the journal is damaged, or
// when the disk is full; the error names the way out. The caller closes the journal after Run.
func OpenJournal(dir string, log *slog.Logger) (*journal.Journal, error) {
	return journal.Open(dir, journal.Options{Log: log, Help: "remove the directory; the job then runs from its beginning"})
}
