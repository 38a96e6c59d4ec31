package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/layshaft/layshaft/internal/filesys/remote"
	"github.com/layshaft/layshaft/internal/security"
	"github.com/layshaft/layshaft/internal/wire"
	layshaftv1 "github.com/layshaft/layshaft/proto/layshaft/v1"
)

// files are the datasets of this worker, files lent by clients, and access to the datasets of
// other workers.
type files struct {
	remote.Router
	coord *coordinatorConn
	peers *peers

	// mu guards the fields below.
	mu      sync.Mutex
	asked   time.Time           // when holders and away were fetched
	holders map[string][]string // worker IDs by dataset
	away    map[string][]string // the same for workers that may come back
}

// holdersFresh is how long the coordinator's list of holders is used before it is fetched again.
const holdersFresh = time.Second

// newFiles opens the directories of datasets. worker is the ID of this worker.
func newFiles(worker string, datasets map[string]string, coord *coordinatorConn, peers *peers, audit *slog.Logger) (*files, error) {
	f := &files{coord: coord, peers: peers}
	f.Router = remote.Router{Self: worker, Datasets: map[string]*remote.Volume{}, Holders: f.holdersOf, Peer: f.peer, Find: remote.Finder(coord.current), Lenders: &remote.Lenders{}}
	for name, dir := range datasets {
		if name == "" || strings.ContainsAny(name, "/@") {
			return nil, errors.Join(fmt.Errorf("dataset %q: its name must not be empty or contain / or @", name), f.close())
		}
		dir, access := remote.ParseOffer(dir)
		v, err := remote.OpenVolume(dir, worker, access)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("dataset %s: %w", name, err), f.close())
		}
		v.Audit = func(ctx context.Context, action string, attrs ...any) {
			who := cmp.Or(strings.Trim(security.PeerIdentity(ctx).String(), "@"), "a program of this worker")
			audit.Info("audit", append([]any{"action", action, "who", who, "dataset", name}, attrs...)...)
		}
		f.Datasets[name] = v
	}
	return f, nil
}

func (f *files) names() []string { return slices.Sorted(maps.Keys(f.Datasets)) }

func (f *files) close() error {
	var err error
	for _, v := range f.Datasets {
		err = errors.Join(err, v.Close())
	}
	return err
}

// holdersOf returns the IDs of the workers that hold a dataset, and of holders that are away.
func (f *files) holdersOf(ctx context.Context, dataset string) (here, away []string, err error) {
	f.mu.Lock()
	fresh := time.Since(f.asked) < holdersFresh && f.holders != nil
	f.mu.Unlock()
	if !fresh {
		err = f.ask(ctx)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.holders[dataset]), slices.Clone(f.away[dataset]), err
}

// ask fetches the list of all datasets' holders, with their addresses, from the coordinator.
func (f *files) ask(ctx context.Context) error {
	conn, err := f.coord.current()
	if err != nil {
		return err
	}
	list, err := layshaftv1.NewCoordinatorServiceClient(conn).ListWorkers(ctx, &layshaftv1.ListWorkersRequest{})
	if err != nil {
		return wire.FromStatus(err)
	}
	holders, away := map[string][]string{}, map[string][]string{}
	for _, w := range list.GetAway() {
		for _, name := range w.GetDatasets() {
			away[name] = append(away[name], w.GetId())
		}
	}
	addresses := map[string]string{}
	for _, w := range list.GetWorkers() {
		h := w.GetHello()
		addresses[h.GetWorker()] = h.GetAddress()
		id := cmp.Or(h.GetId(), h.GetWorker())
		addresses[id] = h.GetAddress()
		for _, name := range h.GetDatasets() {
			holders[name] = append(holders[name], id)
		}
	}
	f.peers.add(addresses)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.holders, f.away, f.asked = holders, away, time.Now()
	return nil
}

// peer returns the files of another worker, by its ID. anew means that its known address failed.
func (f *files) peer(ctx context.Context, worker string, anew bool) (remote.Caller, error) {
	conn := f.peers.conn(worker)
	f.mu.Lock()
	fresh := time.Since(f.asked) < holdersFresh
	f.mu.Unlock()
	if conn == nil || anew && !fresh {
		if err := f.ask(ctx); err != nil {
			return nil, err
		}
		conn = f.peers.conn(worker)
	}
	if conn == nil {
		return nil, errors.New("the coordinator has no address of it")
	}
	return remote.Conn(conn), nil
}

// socketLimit is a length of socket paths that all systems allow.
const socketLimit = 100

// listenLocal opens a unix socket for this user only: in dir, or in a temporary directory if
// dir's path is too long. remove deletes it.
func listenLocal(dir string) (l net.Listener, remove func() error, err error) {
	dir = filepath.Join(dir, "files")
	if len(dir)+len("/socket") > socketLimit {
		if dir, err = os.MkdirTemp("", "layshaft-"); err != nil {
			return nil, nil, err
		}
	}
	remove = func() error { return os.RemoveAll(dir) }
	if err := errors.Join(remove(), os.Mkdir(dir, 0o700)); err != nil {
		return nil, nil, err
	}
	l, err = net.Listen("unix", filepath.Join(dir, "socket"))
	if err != nil {
		return nil, nil, errors.Join(err, remove())
	}
	return l, remove, nil
}
