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

// identityFormat is the format of the file self.json.
var identityFormat = state.Format{Kind: "worker", Version: 1}

// identity describes a worker over all starts of its process. It is stored as self.json in the
// data directory.
type identity struct {
	path string

	Format string `json:"format"` // see identityFormat
	ID     string `json:"id"`     // of the data directory; never changes
	// the identity in the certificate of the first process that had one
	Certificate string `json:"certificate,omitempty"`

	// mu guards the fields below.
	mu sync.Mutex
	// the cluster of the worker; empty for a new worker
	Cluster string `json:"cluster,omitempty"`
	// the highest epoch of a coordinator that the worker has followed
	Epoch int64 `json:"epoch,omitempty"`
}

// loadIdentity reads the identity in a directory, or makes a new one, which save writes.
func loadIdentity(dir string) (*identity, error) {
	s := &identity{path: filepath.Join(dir, "self.json"), Format: identityFormat.String()}
	b, err := state.ReadFile(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		s.ID = hostName() + "-" + randomName(6)
		return s, nil
	}
	// Another version may have other types of fields, so its format is read alone.
	var line struct {
		Format string `json:"format"`
	}
	if err == nil {
		err = json.Unmarshal(b, &line)
	}
	if err == nil {
		if err := identityFormat.Check(line.Format, "another directory"); err != nil {
			return nil, fmt.Errorf("worker: %s: %w", s.path, err)
		}
		err = json.Unmarshal(b, s)
	}
	if err == nil && (s.ID == "" || s.Epoch < 0) {
		err = errors.New("the file has no id, or a negative epoch")
	}
	if err != nil {
		return nil, fmt.Errorf("worker: %s: %w; copy the file and its copy from a backup, or remove both: the worker then begins with a new ID", s.path, err)
	}
	return s, nil
}

// bind stores the identity in this process's certificate. It refuses another one than before: the
// directory is then a copy of another worker's.
func (s *identity) bind(certificate string) error {
	if s.Certificate == "" {
		s.Certificate = certificate
	}
	if certificate == "" || s.Certificate == certificate {
		return nil
	}
	return fmt.Errorf("worker: %s belongs to the worker with the certificate of %s, and this process has the one of %s: a copied directory needs an identity of its own: remove the file and %[1]s.copy. If the certificate was replaced, run also: layshaft worker drain %[4]s",
		s.path, s.Certificate, certificate, s.ID)
}

// hostName returns the short name of the machine, reduced to characters that worker names may
// have.
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

// membership returns the cluster and the epoch that the worker follows.
func (s *identity) membership() (cluster string, epoch int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.Cluster, s.Epoch
}

// setCluster stores durably which cluster and epoch the worker follows.
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

// save replaces the file atomically and syncs it.
func (s *identity) save() error {
	s.mu.Lock()
	b, err := json.Marshal(s)
	s.mu.Unlock()
	if err == nil {
		err = state.WriteFile(s.path, append(b, '\n'))
	}
	if err != nil {
		return fmt.Errorf("worker: save its identity: %w", err)
	}
	return nil
}
