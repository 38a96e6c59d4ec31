//go:build !linux

package bodies

import "os"

func pages(n int) (b []byte, mapped bool) { return make([]byte, n), false }

func release([]byte) {}

// dsync opens a file so that each write is durable at its end.
const dsync = os.O_SYNC
