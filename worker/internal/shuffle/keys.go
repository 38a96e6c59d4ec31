package shuffle

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"

	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/record"
)

// A key is JOB 0x00 STAGE INDEX N KIND; the numbers have 4 bytes, big endian. KIND is keyManifest,
// or keyInline and the 2-byte number of a chunk of inline bytes. For example, the manifest of
// attempt 1 of task 0/7 of job j has the key
//
//	'j' 00 00000000 00000007 00000001 'm'
//
// A value begins with a CRC32C over key and content, so a damaged value and a value under the wrong
// key are found.
const (
	keyInline   = 'b'
	keyManifest = 'm'
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func jobPrefix(id job.ID) []byte { return append([]byte(id), 0) }

func attemptPrefix(a job.Attempt) []byte {
	k := jobPrefix(a.Job)
	for _, n := range [...]int{a.Task.Stage, a.Task.Index, a.N} {
		k = binary.BigEndian.AppendUint32(k, uint32(n))
	}
	return k
}

func manifestKey(a job.Attempt) []byte { return append(attemptPrefix(a), keyManifest) }

func inlineKey(a job.Attempt, chunk int) []byte {
	return binary.BigEndian.AppendUint16(append(attemptPrefix(a), keyInline), uint16(chunk))
}

// parseKey returns the parts of a key; chunk is -1 for a manifest.
func parseKey(k []byte) (a job.Attempt, chunk int, ok bool) {
	for i, c := range k {
		if c != 0 {
			continue
		}
		a.Job = job.ID(k[:i])
		k = k[i+1:]
		if len(k) < 13 || checkID(a.Job) != nil {
			return a, 0, false
		}
		a.Task.Stage = int(binary.BigEndian.Uint32(k))
		a.Task.Index = int(binary.BigEndian.Uint32(k[4:]))
		a.N = int(binary.BigEndian.Uint32(k[8:]))
		switch {
		case k[12] == keyManifest && len(k) == 13:
			return a, -1, true
		case k[12] == keyInline && len(k) == 15:
			return a, int(binary.BigEndian.Uint16(k[13:])), true
		}
		break
	}
	return a, 0, false
}

// checkAttempt returns an error for an attempt that cannot have a key.
func checkAttempt(a job.Attempt) error {
	if err := checkID(a.Job); err != nil {
		return err
	}
	for _, n := range [...]int{a.Task.Stage, a.Task.Index, a.N} {
		if n < 0 || n > math.MaxInt32 {
			return fmt.Errorf("attempt %s: numbers must lie between 0 and %d", a, math.MaxInt32)
		}
	}
	return nil
}

// sealValue writes the checksum into the first 4 bytes of v, which the caller left free.
func sealValue(key, v []byte) []byte {
	binary.LittleEndian.PutUint32(v, crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, v[4:]))
	return v
}

// openValue verifies v and returns its content.
func openValue(key, v []byte) ([]byte, error) {
	if len(v) < 4 || binary.LittleEndian.Uint32(v) != crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, v[4:]) {
		return nil, fmt.Errorf("value of key %q: %w", key, record.ErrCorrupt)
	}
	return v[4:], nil
}
