package state

import (
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"

	_ "unsafe" // for go:linkname
)

// Badger creates a file without blocks, maps it, and writes through the map. The kernel looks for a
// block at the first write of each page. If the disk is full by then, it sends SIGBUS, which ends
// the process. No look at the disk beforehand helps against another program that is faster.
//
// The blocks must therefore be allocated between the creation of a file and its first write. Badger
// has no hook there: its files are made in goroutines of its own, and with O_EXCL. It maps each of
// them through unix.Mmap, however, and that calls the system through the variable unix.mapper. This
// file puts itself there: a file of an open store gets its blocks, or waits for room, before it is
// mapped. All other maps of the process pass unchanged.
//
// The variable is private to that package, so another version of it may lack it or lay it out
// differently. hookMmap then changes nothing, and allocates is false: TestLogHasItsBlocks fails,
// and the two other lines of defence of the guard remain.

// mapper begins like the type of the same name in package unix.
type mapper struct {
	sync.Mutex
	_    map[*byte][]byte
	mmap func(addr, length uintptr, prot, flags, fd int, offset int64) (uintptr, error)
}

//go:linkname unixMapper golang.org/x/sys/unix.mapper
var unixMapper *mapper

// allocates reports whether Badger's files get their blocks before they are mapped.
var allocates = hookMmap()

// guarded has the guard of each folder with Badger's files: string to *guard.
var guarded sync.Map

// hookMmap puts allocation in front of unix.Mmap, and reports whether it could. It runs before any
// goroutine of the program.
func hookMmap() (done bool) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() { done = recover() == nil && done }() // another layout
	if unixMapper == nil {
		return false
	}
	mmap := unixMapper.mmap
	if f := runtime.FuncForPC(reflect.ValueOf(mmap).Pointer()); f == nil || f.Name() != "golang.org/x/sys/unix.mmap" {
		return false
	}
	unixMapper.mmap = func(addr, length uintptr, prot, flags, fd int, offset int64) (uintptr, error) {
		if prot&unix.PROT_WRITE != 0 && flags&unix.MAP_SHARED != 0 {
			if err := allocateMapped(fd, int64(length)); err != nil {
				return 0, err
			}
		}
		return mmap(addr, length, prot, flags, fd, offset)
	}
	return true
}

// allocateMapped allocates the blocks of a file that is about to be mapped, if it belongs to a
// store.
func allocateMapped(fd int, size int64) error {
	path, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(fd))
	if err != nil {
		return nil // no store is known by another name
	}
	g, ok := guarded.Load(filepath.Dir(path))
	if !ok {
		return nil
	}
	if filepath.Ext(path) == ".mem" {
		// Badger makes logs of twice the memtable. It begins the next one when a log has the size
		// of the memtable, and a transaction has at most 15 % of that.
		size = min(size, memtable*5/4)
	}
	return g.(*guard).allocateBlocks(fd, size)
}

// guardMaps makes the files that Badger maps in the folder name get their blocks from now on. The
// returned function ends that.
func (g *guard) guardMaps(name string) (end func()) {
	dir, err := filepath.EvalSymlinks(g.dir) // as the kernel names it
	if err == nil {
		dir, err = filepath.Abs(filepath.Join(dir, name))
	}
	if err != nil || !allocates || g.reserve <= 0 {
		return func() {}
	}
	guarded.Store(dir, g)
	return func() { guarded.CompareAndDelete(dir, g) }
}

// allocateBlocks gives the first size bytes of a file their blocks. On a full disk it waits for
// room, as Badger cannot take an error then; while the store is opened it returns one.
func (g *guard) allocateBlocks(fd int, size int64) error {
	return g.awaitRoom(func() (bool, error) {
		for {
			switch err := unix.Fallocate(fd, 0, 0, size); err {
			case unix.EINTR:
			case unix.ENOSPC, unix.EDQUOT:
				if g.removeBallast() {
					continue
				}
				if g.isOpening() {
					return false, err
				}
				return false, nil
			default:
				// Without an error there is room. Other errors come from file systems that cannot
				// allocate: Badger writes as it does elsewhere.
				return true, nil
			}
		}
	})
}
