package coordinator

import (
	"log/slog"

	"github.com/layshaft/layshaft/coordinator/internal/journal"
)

// OpenJournal opens the journal in dir, which it makes when it does not exist, with every append synced to disk. It fails when another process
// has it open, when it is damaged, or when the disk is full; the error says what to do. The caller closes it after Run.
func OpenJournal(dir string, log *slog.Logger) (*journal.Journal, error) {
	return journal.Open(dir, journal.Options{Log: log})
}
