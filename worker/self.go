package worker

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/layshaft/layshaft/internal/state"
)

// self is who a worker is, over all starts of its process: the file self.json in its data directory.
type identity struct {
	path string

	ID string `json:"id"` // of the data directory; never changes

	// mu guards the fields below.
	mu      sync.Mutex
	Cluster string `json:"cluster,omitempty"` // the cluster that it belongs to; empty when it is new
	Epoch   int64  `json:"epoch,omitempty"`   // the highest of a coordinator that it has obeyed
}

// loadIdentity reads who the worker of a directory is, or makes up a new one, which save writes.
func loadIdentity(dir string) (*identity, error) {
	s := &identity{path: filepath.Join(dir, "self.json")}
	b, err := os.ReadFile(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		s.ID = hostName() + "-" + randomName(6)
		return s, nil
	}
	if err == nil {
		err = json.Unmarshal(b, s)
	}
	if err == nil && (s.ID == "" || s.Epoch < 0) {
		err = errors.New("it has no id, or an epoch below zero")
	}
	if err != nil {
		return nil, fmt.Errorf("worker: %s: %w; remove the directory to begin as a new worker", s.path, err)
	}
	return s, nil
}

// hostName returns what a machine is called among its neighbours, fit for the name of a worker.
func hostName() string {
	host, _ := os.Hostname()
	host, _, _ = strings.Cut(strings.ToLower(host), ".")
	host = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' {
			return r
		}
		return -1
	}, host)
	if host = host[:min(len(host), 32)]; host == "" {
		return "worker"
	}
	return host
}

// randomName returns n letters and digits.
func randomName(n int) string { return strings.ToLower(rand.Text()[:n]) }

// belongs returns the cluster and the epoch that the worker obeys.
func (s *identity) membership() (cluster string, epoch int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.Cluster, s.Epoch
}

// obey remembers, durably, that the worker obeys a coordinator.
func (s *identity) setCluster(cluster string, epoch int64) error {
	s.mu.Lock()
	same := s.Cluster == cluster && s.Epoch == epoch
	s.Cluster, s.Epoch = cluster, epoch
	s.mu.Unlock()
	if same {
		return nil
	}
	return s.save()
}

// save writes the file so that all of it is there, on disk, or what was there before.
func (s *identity) save() error {
	s.mu.Lock()
	b, err := json.Marshal(s)
	s.mu.Unlock()
	if err == nil {
		err = writeAtomic(s.path, append(b, '\n'), 0o600)
	}
	if err != nil {
		return fmt.Errorf("worker: who it is: %w", err)
	}
	return nil
}

// writeAtomic writes a file by way of a temporary one.
func writeAtomic(path string, data []byte, mode fs.FileMode) error {
	file, err := os.OpenFile(path+".tmp", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	if err == nil {
		err = file.Sync()
	}
	err = errors.Join(err, file.Close())
	if err == nil {
		err = os.Rename(path+".tmp", path)
	}
	if err == nil {
		err = state.SyncDir(filepath.Dir(path))
	}
	return err
}
