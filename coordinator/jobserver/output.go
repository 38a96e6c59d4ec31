package jobserver

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"google.golang.org/grpc"

	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/internal/wire"
	layshaftv1 "github.com/layshaft/layshaft/proto/layshaft/v1"
)

// Output keeps the lines that user code writes. Package recorder has one.
type Output interface {
	// Wrote adds lines of a job. It must not block.
	Wrote(id job.ID, lines []report.Line)
	// Lines returns the lines of a job with numbers above after, or an error that wraps
	// fs.ErrNotExist for an unknown job.
	Lines(id job.ID, after int64) ([]report.Line, error)
}

const (
	// maxLine is the limit of a line in bytes, and maxWriters the limit of its attempts.
	maxLine    = 4 << 10
	maxWriters = 64
)

// takeLines keeps lines of user code on a worker. Lines of unknown jobs are dropped.
func (s *Server) takeLines(worker string, m *layshaftv1.OutputLines) {
	id := job.ID(m.GetJob())
	if s.cfg.Output == nil || len(m.GetLines()) == 0 {
		return
	}
	if _, known := s.c.Hash(id); !known {
		return
	}
	lines := make([]report.Line, len(m.GetLines()))
	for i, l := range m.GetLines() {
		text, attempts := l.GetText(), l.GetAttempts()
		lines[i] = report.Line{At: time.Unix(0, l.GetAtNanos()), Worker: worker, Attempts: attempts[:min(len(attempts), maxWriters)],
			Text: string(text[:min(len(text), maxLine)]), Omitted: max(l.GetOmitted(), 0)}
	}
	s.cfg.Output.Wrote(id, lines)
}

// GetOutput sends the lines that user code of a job wrote.
func (s *Server) GetOutput(r *layshaftv1.GetOutputRequest, stream grpc.ServerStreamingServer[layshaftv1.GetOutputResponse]) error {
	id := job.ID(r.GetJob())
	if s.cfg.Output == nil {
		return fmt.Errorf("output of job %s: %w: this coordinator keeps none", id, wire.ErrInvalid)
	}
	lines, err := s.cfg.Output.Lines(id, r.GetAfter())
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("output of job %s: %w", id, wire.ErrUnknownJob)
	}
	if err != nil {
		return fmt.Errorf("output of job %s: %w", id, err)
	}
	m, size := &layshaftv1.GetOutputResponse{}, 0
	for i := range lines {
		l := &lines[i]
		m.Lines = append(m.Lines, &layshaftv1.OutputLine{Text: []byte(l.Text), AtNanos: l.At.UnixNano(), Attempts: l.Attempts, Omitted: l.Omitted, Worker: l.Worker, Number: l.Number})
		if size += len(l.Text) + 64; size > wire.PieceSize || i == len(lines)-1 {
			if err := stream.Send(m); err != nil {
				return err
			}
			m, size = &layshaftv1.GetOutputResponse{}, 0
		}
	}
	return nil
}
