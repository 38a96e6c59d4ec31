package remote

import (
	"errors"
	"log/slog"
	"net"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/layshaft/layshaft/internal/addresses"
	"github.com/layshaft/layshaft/internal/filesys"
	"github.com/layshaft/layshaft/internal/wire"
	layshaftv1 "github.com/layshaft/layshaft/proto/layshaft/v1"
)

// finding is a coordinator that lists one file, or refuses for a while.
type finding struct {
	layshaftv1.UnimplementedCoordinatorServiceServer
	refusal  error
	refusals atomic.Int64 // how many are left
}

func (s *finding) FindFiles(_ *layshaftv1.FindFilesRequest, stream grpc.ServerStreamingServer[layshaftv1.FindFilesResponse]) error {
	if s.refusals.Add(-1) >= 0 {
		return s.refusal
	}
	return stream.Send(&layshaftv1.FindFilesResponse{Files: []*layshaftv1.FileInfo{{Name: "a.csv", Size: 3, Holders: []string{"w1"}}}})
}

// serveFinding returns the address of a coordinator that refuses n times.
func serveFinding(t *testing.T, refusal error, n int64) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	coordinator := &finding{refusal: refusal}
	coordinator.refusals.Store(n)
	s := grpc.NewServer(wire.ServerOptions(slog.New(slog.DiscardHandler), nil)...)
	layshaftv1.RegisterCoordinatorServiceServer(s, coordinator)
	go func() { _ = s.Serve(l) }()
	t.Cleanup(s.Stop)
	return l.Addr().String()
}

// A list of files is asked for again while a coordinator does not lead or restarts, and at the next
// coordinator.
func TestFindAtNextCoordinator(t *testing.T) {
	for _, tt := range []struct {
		name    string
		refusal error
		n       int64
		next    bool // there is another coordinator, which answers
		fails   bool
	}{
		{"no leader for a while", wire.ErrNoLeader, 3, false, false},
		{"no leader here", wire.ErrNoLeader, 1 << 40, true, false},
		{"stopped", wire.ErrStopped, 3, false, false},
		{"cannot answer", wire.ErrUnavailable, 3, false, false},
		{"forbidden", wire.ErrForbidden, 1, false, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			list := addresses.List{serveFinding(t, tt.refusal, tt.n)}
			if tt.next {
				list = append(list, serveFinding(t, nil, 0))
			}
			conn, err := addresses.Open(list, nil, true, append(wire.DialOptions(), grpc.WithTransportCredentials(insecure.NewCredentials()))...)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			files := Dataset(&Router{Find: Finder(func() (*grpc.ClientConn, error) { return conn.ClientConn, nil })})
			found, err := files.Glob(t.Context(), "dataset://d/*.csv")
			switch {
			case tt.fails && (err == nil || errors.Is(err, filesys.ErrGone)):
				t.Errorf("%v, want the refusal for good", err)
			case !tt.fails && (err != nil || len(found) != 1):
				t.Errorf("%v, %v, want the file", found, err)
			}
		})
	}
}
