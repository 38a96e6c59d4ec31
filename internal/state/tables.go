package state

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/pb"
	"github.com/dgraph-io/badger/v4/table"
	"github.com/dgraph-io/badger/v4/y"
	"google.golang.org/protobuf/proto"
)

// removeEmpty removes log files of zero bytes. Badger leaves one if it is killed while it creates
// or removes a log, and cannot open with it.
func removeEmpty(dir string) error {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if ext := filepath.Ext(e.Name()); err != nil || ext != ".mem" && ext != ".vlog" {
			continue
		}
		var info os.FileInfo
		if info, err = e.Info(); err == nil && info.Size() == 0 {
			err = os.Remove(filepath.Join(dir, e.Name()))
		}
	}
	return err
}

// verifyTables checks the ends of Badger's tables in dir before Badger reads them. Badger panics on
// a damaged table in its own goroutine, and this would end the process. An empty directory passes.
func verifyTables(dir string) error {
	manifest, err := os.Open(filepath.Join(dir, badger.ManifestFilename))
	if errors.Is(err, os.ErrNotExist) {
		// Badger would start empty and remove the tables.
		files, dirErr := os.ReadDir(dir)
		if slices.ContainsFunc(files, func(e os.DirEntry) bool { return filepath.Ext(e.Name()) == ".sst" }) {
			return err
		}
		return dirErr
	}
	if err != nil {
		return err
	}
	defer manifest.Close()
	m, _, err := badger.ReplayManifestFile(manifest, 0, badger.DefaultOptions(dir))
	if err != nil {
		return fmt.Errorf("%s: %w", manifest.Name(), err)
	}
	ids := make([]uint64, 0, len(m.Tables))
	for id := range m.Tables {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids {
		if err := verifyTable(table.NewFilename(id, dir)); err != nil {
			return fmt.Errorf("table %06d: %w", id, err)
		}
	}
	return nil
}

// verifyTable checks the last four parts of a table: index, its length (4 bytes), checksum, its
// length (4 bytes).
func verifyTable(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	end := info.Size()
	take := func(n int64) []byte { // returns the last n bytes before end
		if err != nil || n > end {
			err = errors.Join(err, io.ErrUnexpectedEOF)
			return make([]byte, 4)
		}
		end -= n
		b := make([]byte, n)
		_, err = file.ReadAt(b, end)
		return b
	}
	size := func() int64 { return int64(binary.BigEndian.Uint32(take(4))) }
	var sum pb.Checksum
	encoded := take(size())
	index := take(size())
	if err != nil {
		return err
	}
	if err := proto.Unmarshal(encoded, &sum); err != nil {
		return err
	}
	if sum.Algo != pb.Checksum_CRC32C || len(index) < 8 {
		return errors.New("no checksum")
	}
	return y.VerifyChecksum(index, &sum)
}
