//go:build !(linux || darwin || freebsd || openbsd || netbsd || dragonfly)

package state

const badgerLocks = true

// Lock does nothing on this system: Badger locks its directories itself.
func Lock(string) (release func() error, err error) { return func() error { return nil }, nil }

// LockPlace does nothing on this system.
func LockPlace(string) (release func() error, err error) { return func() error { return nil }, nil }

// LockShared does nothing on this system.
func LockShared(string) (release func() error, err error) { return func() error { return nil }, nil }
