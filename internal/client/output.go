package client

import (
	"context"
	"time"

	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/internal/wire"
	layshaftv1 "github.com/layshaft/layshaft/proto/layshaft/v1"
)

// Diagnose returns the files of a debug bundle about the coordinator.
func (c *Client) Diagnose(ctx context.Context) (files []report.DebugFile, err error) {
	err = receive(ctx, c, c.rpc.Diagnose, &layshaftv1.DiagnoseRequest{}, func() { files = nil }, func(m *layshaftv1.DiagnoseResponse) error {
		files = wire.AppendDebugFile(files, m.GetName(), m.GetData())
		return nil
	})
	return files, err
}

// Output returns the lines that user code of a job wrote, with numbers above after.
func (c *Client) Output(ctx context.Context, id job.ID, after int64) (lines []report.Line, err error) {
	err = receive(ctx, c, c.rpc.GetOutput, &layshaftv1.GetOutputRequest{Job: string(id), After: after}, func() { lines = nil }, func(m *layshaftv1.GetOutputResponse) error {
		for _, l := range m.GetLines() {
			lines = append(lines, report.Line{Number: l.GetNumber(), At: time.Unix(0, l.GetAtNanos()), Worker: l.GetWorker(), Attempts: l.GetAttempts(),
				Text: string(l.GetText()), Omitted: l.GetOmitted()})
		}
		return nil
	})
	return lines, err
}
