package recorder

import (
	"log/slog"

	"github.com/layshaft/layshaft/internal/history"
	"github.com/layshaft/layshaft/internal/inspection"
	"github.com/layshaft/layshaft/internal/report"
)

// Memory makes the records of the jobs of one program. It is an inspection.Recorder.
type Memory struct{}

// NewRecord returns the empty record of a job inside this process.
func (Memory) NewRecord(log *slog.Logger) inspection.Record { return New(nil, log) }

// DecodeRecord reads the record of a job from its form on the wire.
func (Memory) DecodeRecord(encoded []byte) (*report.Run, error) { return history.Decode(encoded) }
