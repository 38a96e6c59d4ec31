package shuffle

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/layshaft/layshaft/internal/job"
)

type commitKind int

const (
	putManifest commitKind = iota
	dropAttempt
	dropJob
)

// commit is one change of the state.
type commit struct {
	kind    commitKind
	attempt job.Attempt
	state   *jobState // putManifest: the state of the job as the writer knows it
	segment bool      // putManifest: there is a segment file
	size    int64     // putManifest: bytes of the segment and of the values
	keys    [][]byte
	values  [][]byte
	bytes   int64
	trash   string     // dropJob: new place of the job's directory
	result  chan error // buffered
}

// maxBatch limits the bytes of one transaction, without its last commit. With maxInline and
// maxPlainManifest it stays below Badger's limit of 15 % of the 16 MiB memtable.
const maxBatch = 1 << 20

// send passes c to the commit loop and waits for the result. ctx can end the wait only until the
// loop has taken c.
func (s *Store) send(ctx context.Context, c *commit) error {
	c.result = make(chan error, 1)
	select {
	case s.commits <- c:
		return <-c.result
	case <-s.stop:
		return errClosed
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// commitLoop is the only writer of the state. Badger syncs once per transaction, so commits that
// arrive during one sync share the next transaction.
func (s *Store) commitLoop() {
	for {
		var c *commit
		select {
		case c = <-s.commits:
		case <-s.stop:
			return
		}
		var batch []*commit
		for bytes := int64(0); c != nil; {
			if c.kind == dropJob { // Badger refuses writes during a drop, so it is done alone
				s.commitBatch(batch)
				batch = nil
				c.result <- s.dropJobNow(c)
			} else {
				batch = append(batch, c)
				bytes += c.bytes
			}
			c = nil
			if bytes < maxBatch {
				select {
				case c = <-s.commits:
				default:
				}
			}
		}
		s.commitBatch(batch)
	}
}

func (s *Store) commitBatch(batch []*commit) {
	if len(batch) == 0 {
		return
	}
	err := s.write(batch)
	if err != nil && len(batch) > 1 {
		for _, c := range batch { // so that one error does not fail the others
			s.commitBatch([]*commit{c})
		}
		return
	}
	for _, c := range batch {
		c.result <- err
	}
}

// write makes the changes of a batch durable in one transaction, and then visible to readers.
func (s *Store) write(batch []*commit) error {
	var need int64
	for _, c := range batch {
		need += c.bytes
	}
	if need > 0 {
		if err := s.table.Check(need); err != nil {
			return err
		}
	}
	s.mu.Lock()
	for _, c := range batch {
		if c.kind == putManifest && c.state.dropped {
			s.mu.Unlock()
			return fmt.Errorf("job %s was dropped: %w", c.attempt.Job, ErrGone)
		}
	}
	s.mu.Unlock()
	var all change
	for _, c := range batch {
		all.keys, all.values = append(all.keys, c.keys...), append(all.values, c.values...)
		if c.kind == dropAttempt {
			all.prefixes = append(all.prefixes, attemptPrefix(c.attempt))
		}
	}
	if err := s.table.apply(&all); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range batch {
		if c.kind == putManifest {
			c.state.outputs[c.attempt] = c.size
			s.used += c.bytes
			if c.segment {
				s.queueSync(c.attempt)
			}
		} else if st := s.jobs[c.attempt.Job]; st != nil && st.isSealed(c.attempt) {
			s.used -= st.outputs[c.attempt]
			delete(st.outputs, c.attempt)
			s.forgetCached(c.attempt)
		}
	}
	return nil
}

// stateRoom is the space that Badger may need to drop a job, in bytes.
const stateRoom = 64 << 20

// dropJobNow forgets a job and moves its directory aside, so that a job with the same ID may begin
// at once.
func (s *Store) dropJobNow(c *commit) error {
	id := c.attempt.Job
	s.mu.Lock()
	if st := s.jobs[id]; st != nil {
		st.dropped = true
		delete(s.jobs, id)
		for a, bytes := range st.outputs {
			s.forgetCached(a)
			if bytes != unsealed { // a Writer returns its own bytes
				s.used -= bytes
			}
		}
	}
	dir, trash := s.jobDir(id), filepath.Join(s.dir, "jobs", trashPrefix+string(id))
	err := os.RemoveAll(trash) // from an earlier drop that did not finish
	if err == nil {
		err = os.Rename(dir, trash)
	}
	s.mu.Unlock()
	if err == nil {
		c.trash = trash
	} else if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	// Badger needs space to drop, and must not run out of it
	if c.trash != "" && s.table.Check(stateRoom) != nil {
		err = os.RemoveAll(c.trash)
	}
	return errors.Join(err, s.table.dropPrefix(jobPrefix(id)))
}

// trashPrefix begins the names of job directories under removal; no job ID begins with a dot.
const trashPrefix = ".dropped-"
