package wire

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
)

// TokenOf returns the token of all submits of a function with one key: the coordinator makes a task
// for the first of them alone.
func TokenOf(function, key string) uint64 {
	h := sha256.Sum256(fmt.Appendf(nil, "%d:%s%s", len(function), function, key))
	return binary.LittleEndian.Uint64(h[:]) | 1
}
