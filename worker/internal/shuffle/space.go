package shuffle

import (
	"fmt"

	"github.com/layshaft/layshaft/internal/bytesize"
)

// CheckSpace returns an error that wraps ErrDiskFull if need more bytes would use the reserve, or
// if the outputs have reached the quota.
func (s *Store) CheckSpace(need int64) error {
	s.mu.Lock()
	err := s.checkQuota(0)
	s.mu.Unlock()
	if err != nil {
		return err
	}
	return s.table.Check(need)
}

// Free returns how many bytes outputs may still take: the space of the disk beyond the reserve, or
// the rest of the quota if that is less.
func (s *Store) Free() (int64, error) {
	free, err := s.free(s.dir)
	free -= max(s.reserve, 0)
	if s.quota > 0 {
		s.mu.Lock()
		free = min(free, s.quota-s.used)
		s.mu.Unlock()
	}
	return max(free, 0), err
}

// Space returns the size of all outputs and their quota; zero means no limit but the disk.
func (s *Store) Space() (used, quota int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.used, s.quota
}

// takeQuota counts n more bytes against the quota.
func (s *Store) takeQuota(n int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.checkQuota(n); err != nil {
		return err
	}
	s.used += n
	return nil
}

// checkQuota returns an error if n more bytes would reach the quota. The caller holds mu.
func (s *Store) checkQuota(n int64) error {
	if s.quota <= 0 || s.used+n < s.quota {
		return nil
	}
	return fmt.Errorf("%w: outputs in %s take %s of a quota of %s; drop finished jobs, or raise the quota", ErrDiskFull, s.dir,
		bytesize.Format(s.used), bytesize.Format(s.quota))
}
