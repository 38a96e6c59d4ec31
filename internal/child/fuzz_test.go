package child

import (
	"bytes"
	"context"
	"io"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	"github.com/layshaft/layshaft/internal/job"
	runnerv1 "github.com/layshaft/layshaft/proto/layshaft/runner/v1"
)

func encode(t testing.TB, m proto.Message, data ...string) []byte {
	t.Helper()
	out := &outgoing{Message: m}
	for _, d := range data {
		out.data = append(out.data, mem.SliceBuffer(d))
	}
	b, err := codec{}.Marshal(out)
	if err != nil {
		t.Fatal(err)
	}
	return b.Materialize()
}

// What the codec reads is what protobuf alone would read, wherever data stands in the message.
func FuzzCodec(f *testing.F) {
	pull := &runnerv1.RunResponse{Body: &runnerv1.RunResponse_Pull{Pull: &runnerv1.Pull{Run: 3}}}
	f.Add(encode(f, pull, "data", "more"))
	f.Add(encode(f, pull))
	both, err := proto.Marshal(&runnerv1.RunResponse{Data: []byte("first"), Body: pull.Body})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(both)
	f.Add([]byte{dataField<<3 | 2, 200})
	f.Fuzz(func(t *testing.T, b []byte) {
		var want, got runnerv1.RunResponse
		in := incoming{Message: &got, buf: make([]byte, 3)}
		wantErr := proto.Unmarshal(b, &want)
		err := codec{}.Unmarshal(mem.BufferSlice{mem.SliceBuffer(bytes.Clone(b[:len(b)/2])), mem.SliceBuffer(bytes.Clone(b[len(b)/2:]))}, &in)
		if wantErr != nil {
			return // protobuf refuses more, such as what stands in data's own place
		}
		if err != nil {
			t.Fatalf("%v; protobuf reads it", err)
		}
		head, _, _ := cutData(bytes.Clone(b))
		if _, second, _ := cutData(head); second != nil {
			return // no sender does that
		}
		want.Data = append([]byte{}, want.Data...)
		got.Data = append([]byte{}, in.data...)
		if !proto.Equal(&want, &got) {
			t.Errorf("got  %v\nwant %v", &got, &want)
		}
	})
}

// scripted is a stream with prepared messages from a child.
type scripted struct {
	grpc.ClientStream
	messages [][]byte
}

func (s *scripted) Recv() (*runnerv1.RunResponse, error) { panic("not used") }
func (s *scripted) Send(*runnerv1.RunRequest) error      { panic("not used") }
func (s *scripted) SendMsg(any) error                    { return nil }

func (s *scripted) RecvMsg(m any) error {
	if len(s.messages) == 0 {
		return io.EOF
	}
	b := s.messages[0]
	s.messages = s.messages[1:]
	return codec{}.Unmarshal(mem.BufferSlice{mem.SliceBuffer(b)}, m)
}

// No message from a child may crash the worker.
func FuzzHost(f *testing.F) {
	say := func(m *runnerv1.RunResponse, data ...string) []byte { return encode(f, m, data...) }
	f.Add(say(&runnerv1.RunResponse{Body: &runnerv1.RunResponse_Pull{Pull: &runnerv1.Pull{Run: 1, Bytes: -1}}}),
		say(&runnerv1.RunResponse{Body: &runnerv1.RunResponse_End{End: &runnerv1.EndAttempt{}}}))
	f.Add(say(&runnerv1.RunResponse{Body: &runnerv1.RunResponse_Append{Append: &runnerv1.AppendBlocks{Blocks: []*runnerv1.OutputBlock{{Size: 3}, {Size: 1 << 40}}}}}, "abcd"),
		say(&runnerv1.RunResponse{Body: &runnerv1.RunResponse_Open{Open: &runnerv1.OpenRuns{Partition: -5}}}))
	f.Add(say(&runnerv1.RunResponse{Body: &runnerv1.RunResponse_Check{}}), []byte{})
	f.Add(say(&runnerv1.RunResponse{Body: &runnerv1.RunResponse_Close{Close: &runnerv1.CloseRun{Run: -1}}}), []byte{1})
	f.Fuzz(func(t *testing.T, a, b []byte) {
		r, _ := newRun()
		r.Output = nowhere{}
		r.Inputs = [][]job.RunReader{{&memRun{blocks: [][]byte{{1}}}}}
		r.OpenPartition = func(int) ([]job.RunReader, error) { return []job.RunReader{&memRun{}}, nil }
		_, cancel := context.WithCancelCause(context.Background())
		h := &host{call: Call{Run: r, Stuck: func() {}}, run: r, stream: &scripted{messages: [][]byte{a, b, a, b}}, cancel: cancel, pending: make(chan struct{}, 1), ended: make(chan struct{})}
		if _, err := h.start(); err != nil {
			t.Fatal(err)
		}
		_ = h.listen()
		for _, q := range h.questions {
			h.answer(q)
		}
	})
}
