package bodies

import "golang.org/x/sys/unix"

// pages returns n zeroed bytes outside the garbage-collected heap, or inside if the system refuses.
func pages(n int) (b []byte, mapped bool) {
	b, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE|unix.MAP_POPULATE)
	if err != nil {
		return make([]byte, n), false
	}
	return b, true
}

func release(b []byte) {
	_ = unix.Munmap(b) // fails only for memory that did not come from pages
}

// dsync opens a file so that each write is durable at its end, without its times.
const dsync = unix.O_DSYNC
