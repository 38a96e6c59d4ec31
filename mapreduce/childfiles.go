package mapreduce

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/layshaft/layshaft/internal/child"
	"github.com/layshaft/layshaft/internal/filesys"
	"github.com/layshaft/layshaft/internal/filesys/remote"
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/wire"
)

// childContext gives the context of a child process the files that its worker can reach. It is
// called before each build of the plan and before each attempt.
func childContext(ctx context.Context, _ *job.Spec) (context.Context, error) {
	files, err := childFiles()
	if err != nil {
		return nil, err
	}
	return filesys.WithSet(ctx, files), nil
}

// childFiles connects to the files of the worker that started this process.
var childFiles = sync.OnceValues(func() (filesys.Set, error) {
	value := os.Getenv(child.FilesEnv)
	if value == "" {
		return nil, nil // this worker offers no files
	}
	_ = os.Unsetenv(child.FilesEnv)
	address, client, _ := strings.Cut(value, " ")
	conn, err := grpc.NewClient(address, append(wire.DialOptions(), grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		return nil, fmt.Errorf("files of the worker at %s: %w", address, err)
	}
	caller := remote.Conn(conn)
	roots, err := filesys.OpenRoots(filepath.SplitList(os.Getenv(child.RootsEnv)))
	if err != nil {
		return nil, err
	}
	return filesys.Set{"file": filesys.OS{Roots: roots}, "": remote.ClientFS(caller, strings.TrimPrefix(client, "client/")), "client": remote.Client(caller), "dataset": remote.Dataset(caller)}, nil
})
