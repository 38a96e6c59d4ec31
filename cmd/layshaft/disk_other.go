//go:build !linux && !darwin

package main

// diskSize returns zero: the size of the disk is unknown on this system.
func diskSize(string) int64 { return 0 }
