package wire

import (
	"time"

	"github.com/layshaft/layshaft/internal/job"
	layshaftv1 "github.com/layshaft/layshaft/proto/layshaft/v1"
)

func deathToProto(x *job.Death) *layshaftv1.Death {
	if x == nil {
		return nil
	}
	return &layshaftv1.Death{Exit: text(x.Exit), Memory: text(x.Memory), Evidence: List(x.Evidence, text), PeakBytes: x.Peak, LimitBytes: x.Limit,
		Curve: x.Curve, CurveNanos: int64(x.Every), CpuNanos: int64(x.CPU), Records: x.Records, Bytes: x.Bytes, Stacks: text(x.Stacks), IdleNanos: int64(x.Idle)}
}

// deathFromProto converts facts for people. Numbers below zero become zero.
func deathFromProto(p *layshaftv1.Death) *job.Death {
	if p == nil {
		return nil
	}
	return &job.Death{Exit: p.GetExit(), Memory: p.GetMemory(), Evidence: p.GetEvidence(), Peak: max(p.GetPeakBytes(), 0), Limit: max(p.GetLimitBytes(), 0), Curve: p.GetCurve(),
		Every: max(time.Duration(p.GetCurveNanos()), 0), CPU: max(time.Duration(p.GetCpuNanos()), 0), Records: max(p.GetRecords(), 0), Bytes: max(p.GetBytes(), 0),
		Stacks: p.GetStacks(), Idle: max(time.Duration(p.GetIdleNanos()), 0)}
}
