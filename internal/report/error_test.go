package report

import (
	"testing"

	"github.com/layshaft/layshaft/internal/job"
)

// The text of a failure is safe for a terminal.
func TestJobErrorEscapes(t *testing.T) {
	err := &JobError{ID: "j", Outcome: JobFailed, Failure: job.Failure{Message: "bad\x1b[2J\xe9", Detail: "main.f\n\tmain.go:1"}}
	if got, want := err.Error(), `job j failed: bad\x1b[2J\xe9`+"\nmain.f\n\tmain.go:1"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
