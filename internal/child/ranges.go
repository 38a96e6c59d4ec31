package child

import (
	"path/filepath"

	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/segment"
	"github.com/layshaft/layshaft/internal/wire"
	runnerv1 "github.com/layshaft/layshaft/proto/layshaft/runner/v1"
)

// placeOf returns where a run lies on this machine, or nil.
func placeOf(r job.RunReader) *runnerv1.SegmentRange {
	local, ok := r.(interface{ Local() (segment.File, bool) })
	if !ok {
		return nil
	}
	f, ok := local.Local()
	if !ok {
		return nil
	}
	path, err := filepath.Abs(f.Path) // the child has another working directory
	if err != nil {
		return nil
	}
	return &runnerv1.SegmentRange{Path: path, From: f.From, To: f.To, Attempt: wire.AttemptToProto(f.Attempt), Port: int64(f.Port), Run: int64(f.Number), Partition: int64(f.Partition),
		Whole: f.IsWhole, Blocks: int64(f.Blocks), Ahead: int64(f.Ahead), Lo: f.Lo, Hi: f.Hi}
}

// openPlace returns a reader of a run that lies on this machine, or pulled, which has the run from
// the worker. It reads pulled, too, if this process has other files than the worker.
func openPlace(in *runnerv1.InputRun, pulled job.RunReader) job.RunReader {
	p := in.GetFile()
	if p == nil {
		return pulled
	}
	a, err := wire.AttemptFromProto(p.GetAttempt())
	if err != nil {
		return pulled
	}
	return segment.File{Path: p.GetPath(), From: p.GetFrom(), To: p.GetTo(), Attempt: a, Port: int(p.GetPort()), Number: int(p.GetRun()), Partition: int(p.GetPartition()),
		Records: in.GetRecords(), Bytes: in.GetBytes(), IsWhole: p.GetWhole(), Blocks: int(p.GetBlocks()), Ahead: int(p.GetAhead()), Lo: p.Lo, Hi: p.Hi}.OpenOr(pulled)
}
