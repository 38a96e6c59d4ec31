package jobserver

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/layshaft/layshaft/coordinator/datadir"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/internal/wire"
	layshaftv1 "github.com/layshaft/layshaft/proto/layshaft/v1"
)

// PutCode stores a program.
func (s *Server) PutCode(stream grpc.ClientStreamingServer[layshaftv1.PutCodeRequest, layshaftv1.PutCodeResponse]) error {
	m, err := stream.Recv()
	if err != nil {
		return err
	}
	h := m.GetHeader()
	switch {
	case h == nil:
		return fmt.Errorf("put program: %w: the header comes first", wire.ErrInvalid)
	case h.GetSize() < 0 || h.GetSize() > s.cfg.MaxCode:
		return fmt.Errorf("put program %.12s: %w: its size is %d bytes, the limit %d; strip it with -ldflags='-s -w'", h.GetSha256(), wire.ErrInvalid, h.GetSize(), s.cfg.MaxCode)
	}
	s.audit(stream.Context(), "ship", "code", h.GetSha256(), "bytes", h.GetSize(), "platform", h.GetPlatform())
	if j := s.cfg.Data.Journal; j != nil {
		if err := j.CheckSpace(h.GetSize()); err != nil {
			return fmt.Errorf("put program: %w", err)
		}
	}
	if !s.cfg.Data.Code.Has(h.GetSha256()) {
		err = s.cfg.Data.Code.Put(wire.CodeFromProto(h), &wire.PieceReader{Recv: func() ([]byte, error) {
			m, err := stream.Recv()
			return m.GetData(), err
		}})
	}
	if err != nil {
		return err
	}
	return stream.SendAndClose(&layshaftv1.PutCodeResponse{})
}

// GetCode sends a program.
func (s *Server) GetCode(r *layshaftv1.GetCodeRequest, stream grpc.ServerStreamingServer[layshaftv1.GetCodeResponse]) error {
	return s.cfg.Data.Code.Get(r.GetSha256(), wire.PieceWriter(func(b []byte) error {
		return stream.Send(&layshaftv1.GetCodeResponse{Data: b})
	}))
}

// checkCode reports whether the client must send the program of its job first. The error explains
// why no worker can ever run it.
func (s *Server) checkCode(o *report.Options) (wanted bool, err error) {
	if o.Code == "" {
		return false, nil
	}
	if !datadir.IsHash(o.Code) {
		return false, fmt.Errorf("%w: program %q: its name must be a SHA-256 in hex", wire.ErrInvalid, o.Code)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	takes, fits, loads := 0, 0, 0 // counts of workers: accept programs; also on its platform; also with its loader
	platforms := map[string]bool{}
	for _, x := range s.streams {
		h := x.hello
		if slices.Contains(h.GetCodes(), o.Code) {
			return false, nil
		}
		if !h.GetAllowsShippedCode() {
			continue
		}
		takes++
		if platforms[h.GetPlatform()] = true; h.GetPlatform() != o.Platform {
			continue
		}
		fits++
		if o.CodeLoader == "" || len(h.GetLoaders()) == 0 || slices.Contains(h.GetLoaders(), o.CodeLoader) {
			loads++
		}
	}
	os, arch, _ := strings.Cut(o.Platform, "/")
	switch {
	case len(s.streams) == 0: // unknown yet
	case takes == 0:
		return false, fmt.Errorf("%w: none of %s was given program %.12s, and none takes programs from clients; start workers with -code FILE, or with -allow-shipped-code",
			wire.ErrCannotRun, report.Plural(len(s.streams), "worker"), o.Code)
	case fits == 0:
		return false, fmt.Errorf("%w: the program is built for %s and the workers that take programs run %s; build it with GOOS and GOARCH of theirs, or start workers on GOOS=%s GOARCH=%s",
			wire.ErrCannotRun, o.Platform, strings.Join(slices.Sorted(maps.Keys(platforms)), ", "), os, arch)
	case loads == 0:
		return false, fmt.Errorf("%w: the program needs %s, which no worker has; build it with CGO_ENABLED=0", wire.ErrCannotRun, o.CodeLoader)
	}
	return !s.cfg.Data.Code.Has(o.Code), nil
}

// trim removes programs without a job.
func (s *Server) trim() {
	needed := map[string]bool{}
	for _, id := range s.c.Jobs() {
		if o, ok := s.c.Options(id); ok {
			needed[o.Code] = true
		}
	}
	if err := s.cfg.Data.Code.Trim(time.Now().Add(-s.cfg.KeepCode), func(hash string) bool { return needed[hash] }); err != nil {
		s.log.Warn("programs not removed", "err", err)
	}
}

func dialInsecure(address string) (*grpc.ClientConn, error) {
	return grpc.NewClient(address, append(wire.DialOptions(), grpc.WithTransportCredentials(insecure.NewCredentials()))...)
}
