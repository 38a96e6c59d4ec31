package worker

import (
	"bytes"
	"context"
	"net"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/wire"
	layshaftv1 "github.com/layshaft/layshaft/proto/layshaft/v1"
)

func asideAttempt(id job.ID, index, n int) job.Attempt {
	return job.Attempt{Job: id, Task: job.Task{Index: index}, N: n}
}

// TestSetAside checks how long records set aside are kept, and how many.
func TestSetAside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newAsideStore()
		large := make([]byte, maxAside/2)
		s.add(asideAttempt("a", 0, 1), large)
		s.drop("a")
		time.Sleep(keepAside)
		if got := s.list("a"); len(got) != 1 || len(got[0].Lines) != 1 {
			t.Errorf("a job dropped a moment ago has %d attempts, want 1", len(got))
		}
		s.add(asideAttempt("b", 0, 1), large)
		s.add(asideAttempt("b", 1, 1), []byte("x"))
		if got := s.list("b"); len(got) != 2 || got[1].Omitted != 1 || len(got[1].Lines) != 0 {
			t.Errorf("beyond the limit: %d attempts, %+v", len(got), got[len(got)-1])
		}
		time.Sleep(time.Second)
		s.add(asideAttempt("b", 2, 1), []byte("x"))
		if len(s.list("a")) != 0 || len(s.list("b")[2].Lines) != 1 {
			t.Error("an old job is kept, or its bytes count")
		}
		s.drop("b")
		s.add(asideAttempt("b", 0, 1), []byte("new")) // submitted again
		if got := s.list("b"); len(got) != 1 || string(got[0].Lines[0]) != "new" || s.size != 3 {
			t.Errorf("a job that was submitted again: %d attempts, %d bytes", len(got), s.size)
		}
	})
}

// TestListSetAside checks that a client reads many records of many attempts.
func TestListSetAside(t *testing.T) {
	s := newAsideStore()
	var want []SetAside
	for i := range 3 {
		a := asideAttempt("j", i, 1)
		x := SetAside{Attempt: a}
		for k := range 100 * i {
			line := bytes.Repeat([]byte{byte(k)}, 10_000)
			s.add(a, line)
			x.Lines = append(x.Lines, line)
		}
		if i > 0 {
			want = append(want, x)
		}
	}
	full := asideAttempt("j", 9, 1)
	s.add(full, make([]byte, maxAside))
	want = append(want, SetAside{Attempt: full, Omitted: 1})
	l := bufconn.Listen(1 << 20)
	server := grpc.NewServer(append(wire.ServerOptions(quiet, nil), grpc.ForceServerCodecV2(newPieceCodec()))...)
	layshaftv1.RegisterWorkerServiceServer(server, &service{aside: s})
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	conn, err := grpc.NewClient("passthrough:///x", append(wire.DialOptions(), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }))...)
	if err != nil {
		t.Fatal(err)
	}
	got, err := RemoteSetAside(t.Context(), conn, "j")
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("received %d attempts, want %d: %v", len(got), len(want), err)
	}
	if got, err := RemoteSetAside(t.Context(), conn, "unknown"); len(got) != 0 || err != nil {
		t.Errorf("unknown job: %d attempts, %v", len(got), err)
	}
	_ = conn.Close()
	server.Stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	longest := LongestSetAside([]SetAside{{Attempt: asideAttempt("j", 1, 3)}, {Attempt: asideAttempt("j", 1, 1), Lines: [][]byte{nil}}, {Attempt: asideAttempt("j", 0, 1), Omitted: 2}})
	if len(longest) != 2 || longest[0].Attempt.Task.Index != 0 || longest[1].Attempt.N != 1 {
		t.Errorf("longest: %+v", longest)
	}
}
