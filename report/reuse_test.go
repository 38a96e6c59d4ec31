package report_test

import "github.com/layshaft/layshaft/internal/arena"

// All tests of reports overwrite the memory of a batch once its reader reuses it. So an operator
// that keeps a text of a batch without a copy gives wrong results in its own tests.
func init() { arena.OverwriteFreed = true }
