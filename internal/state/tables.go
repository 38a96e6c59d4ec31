package state

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/fb"
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

// tables returns the numbers of Badger's tables in dir, and the offset in the file MANIFEST behind
// its last whole record. An empty directory has none.
func tables(dir string) (ids []uint64, end int64, err error) {
	manifest, err := os.Open(filepath.Join(dir, badger.ManifestFilename))
	if errors.Is(err, os.ErrNotExist) {
		// Badger would start empty and remove the tables.
		files, dirErr := os.ReadDir(dir)
		if slices.ContainsFunc(files, func(e os.DirEntry) bool { return filepath.Ext(e.Name()) == ".sst" }) {
			return nil, 0, err
		}
		return nil, 0, dirErr
	}
	if err != nil {
		return nil, 0, err
	}
	defer manifest.Close()
	m, end, err := badger.ReplayManifestFile(manifest, 0, badger.DefaultOptions(dir))
	if err != nil {
		return nil, 0, fmt.Errorf("%s: %w", manifest.Name(), err)
	}
	return slices.Sorted(maps.Keys(m.Tables)), end, nil
}

// verifyTables checks Badger's tables in dir before Badger reads them. Badger panics on a damaged
// table in its own goroutine, and this would end the process.
func verifyTables(dir string) error {
	ids, _, err := tables(dir)
	for _, id := range ids {
		if err := verifyTable(table.NewFilename(id, dir)); err != nil {
			return fmt.Errorf("table %06d: %w", id, err)
		}
	}
	return err
}

// verifyTable checks the checksums of all blocks of a table, and of its index. The last four parts
// of a table are the index, its length (4 bytes), its checksum, the checksum's length (4 bytes).
func verifyTable(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	rest, sum, err := cutChecksum(data)
	if err != nil {
		return err
	}
	_, index, err := cutSized(rest)
	if err != nil || len(index) < 8 {
		return errors.Join(errors.New("no index"), err)
	}
	if err := y.VerifyChecksum(index, sum); err != nil {
		return err
	}
	blocks := fb.GetRootAsTableIndex(index, 0)
	for i := range blocks.OffsetsLength() {
		var at fb.BlockOffset
		if !blocks.Offsets(&at, i) || uint64(at.Offset())+uint64(at.Len()) > uint64(len(data)) {
			return fmt.Errorf("block %d: %w", i, io.ErrUnexpectedEOF)
		}
		block, sum, err := cutChecksum(data[at.Offset() : at.Offset()+at.Len()])
		if err == nil {
			err = y.VerifyChecksum(block, sum)
		}
		if err != nil {
			return fmt.Errorf("block %d: %w", i, err)
		}
	}
	return nil
}

// cutSized cuts the last part of data, whose length follows it in four bytes.
func cutSized(data []byte) (rest, part []byte, err error) {
	if len(data) < 4 {
		return nil, nil, io.ErrUnexpectedEOF
	}
	end := len(data) - 4
	n := int(binary.BigEndian.Uint32(data[end:]))
	if n > end {
		return nil, nil, io.ErrUnexpectedEOF
	}
	return data[:end-n], data[end-n : end], nil
}

// cutChecksum cuts the checksum at the end of data.
func cutChecksum(data []byte) (rest []byte, sum *pb.Checksum, err error) {
	rest, encoded, err := cutSized(data)
	if err != nil {
		return nil, nil, err
	}
	sum = &pb.Checksum{}
	if err := proto.Unmarshal(encoded, sum); err != nil {
		return nil, nil, err
	}
	if sum.Algo != pb.Checksum_CRC32C {
		return nil, nil, errors.New("no checksum")
	}
	return rest, sum, nil
}

// dropDamagedTables takes damaged tables out of a store, so that Badger opens with the others. The
// files stay, under names that end in .damaged. It returns the numbers of the tables.
func dropDamagedTables(dir string) (dropped []uint64, err error) {
	ids, end, err := tables(dir)
	if err != nil {
		return nil, err
	}
	var set pb.ManifestChangeSet
	for _, id := range ids {
		if verifyTable(table.NewFilename(id, dir)) != nil {
			dropped = append(dropped, id)
			set.Changes = append(set.Changes, &pb.ManifestChange{Id: id, Op: pb.ManifestChange_DELETE})
		}
	}
	data, err := proto.Marshal(&set)
	if err != nil || len(dropped) == 0 {
		return nil, err
	}
	// A record of the file is its length, its checksum, and the changes.
	record := binary.BigEndian.AppendUint32(nil, uint32(len(data)))
	record = binary.BigEndian.AppendUint32(record, crc32.Checksum(data, y.CastagnoliCrcTable))
	manifest, err := os.OpenFile(filepath.Join(dir, badger.ManifestFilename), os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	if err = manifest.Truncate(end); err == nil {
		_, err = manifest.WriteAt(append(record, data...), end)
	}
	if err = errors.Join(err, manifest.Sync(), manifest.Close()); err != nil {
		return nil, err
	}
	for _, id := range dropped {
		path := table.NewFilename(id, dir)
		if err := os.Rename(path, path+".damaged"); err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
	}
	return dropped, SyncDir(dir)
}
