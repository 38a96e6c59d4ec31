package jobserver

import (
	"context"
	"encoding/binary"
	"io"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/layshaft/layshaft/coordinator"
	"github.com/layshaft/layshaft/coordinator/datadir"
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/internal/wire"
	layshaftv1 "github.com/layshaft/layshaft/proto/layshaft/v1"
)

// scriptStream says what is in a list, and then closes.
type scriptStream struct {
	grpc.ServerStream
	say []*layshaftv1.WorkRequest
}

func (s *scriptStream) Context() context.Context            { return context.Background() }
func (s *scriptStream) Send(*layshaftv1.WorkResponse) error { return nil }
func (s *scriptStream) Recv() (*layshaftv1.WorkRequest, error) {
	if len(s.say) == 0 {
		return nil, io.EOF
	}
	m := s.say[0]
	s.say = s.say[1:]
	return m, nil
}

// script frames messages as the fuzzer sees them: each after its length.
func script(ms ...*layshaftv1.WorkRequest) []byte {
	var out []byte
	for _, m := range ms {
		b, _ := proto.Marshal(m)
		out = append(binary.AppendUvarint(out, uint64(len(b))), b...)
	}
	return out
}

// FuzzWork plays hostile workers to a coordinator that has a job: errors for them, no panic, and the scheduler's promises hold.
func FuzzWork(f *testing.F) {
	a := wire.AttemptToProto(job.Attempt{Job: "j", N: 1})
	hello := &layshaftv1.WorkRequest{Body: &layshaftv1.WorkRequest_Hello{Hello: &layshaftv1.Hello{Protocol: wire.Protocol, Worker: "w", Slots: 2, Outputs: []*layshaftv1.Attempt{a}, Running: []*layshaftv1.Attempt{a}}}}
	f.Add(script(hello,
		&layshaftv1.WorkRequest{Body: &layshaftv1.WorkRequest_Heartbeat{Heartbeat: &layshaftv1.Heartbeat{Running: []*layshaftv1.AttemptProgress{{Attempt: a}}}}},
		&layshaftv1.WorkRequest{Body: &layshaftv1.WorkRequest_Done{Done: &layshaftv1.AttemptDone{Attempt: a, PartitionBytes: []int64{-1}, Summary: &layshaftv1.Summary{Bytes: -1}}}},
		&layshaftv1.WorkRequest{Body: &layshaftv1.WorkRequest_Failed{Failed: &layshaftv1.AttemptFailed{Attempt: a, Failure: wire.FailureToProto(&job.Failure{Kind: job.Poison})}}},
		&layshaftv1.WorkRequest{Body: &layshaftv1.WorkRequest_Lost{Lost: &layshaftv1.ReportLostRequest{Attempt: a}}},
		&layshaftv1.WorkRequest{Body: &layshaftv1.WorkRequest_Moved{Moved: &layshaftv1.Moved{Attempt: a}}},
		&layshaftv1.WorkRequest{Body: &layshaftv1.WorkRequest_Drain{Drain: &layshaftv1.Drain{}}},
		&layshaftv1.WorkRequest{Body: &layshaftv1.WorkRequest_Leaving{Leaving: &layshaftv1.Leaving{}}}))
	f.Add(script(hello, &layshaftv1.WorkRequest{Body: &layshaftv1.WorkRequest_Failed{Failed: &layshaftv1.AttemptFailed{Attempt: a}}}))
	f.Add(script(&layshaftv1.WorkRequest{}))

	c, err := coordinator.New(coordinator.Config{})
	if err != nil {
		f.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	f.Cleanup(cancel)
	go func() { _ = c.Run(ctx) }()
	s, err := New(Config{Coordinator: c, Data: &datadir.Data{Cluster: "c"}, Grace: time.Nanosecond})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		x := &scriptStream{}
		for len(b) > 0 {
			n, k := binary.Uvarint(b)
			if k <= 0 || n > uint64(len(b)-k) {
				break
			}
			var m layshaftv1.WorkRequest
			if proto.Unmarshal(b[k:k+int(n)], &m) == nil {
				x.say = append(x.say, &m)
			}
			b = b[k+int(n):]
		}
		spec := job.Spec{ID: "j", Stages: []job.Stage{{Name: "map", Tasks: 2}, {Name: "reduce", Tasks: 1, Inputs: []job.Edge{{}}}}}
		if err := c.Submit(t.Context(), spec, report.Options{}); err != nil {
			t.Fatal(err)
		}
		_ = s.Work(x)
		if err := c.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		if bad := coordinator.Audit(c); bad != nil {
			t.Fatalf("audit: %q", bad)
		}
		if err := c.Drop(t.Context(), "j"); err != nil {
			t.Fatal(err)
		}
	})
}
