//go:build !unix

package remote

import "io/fs"

// identity is not known here, so that files are always read through their owner.
func identity(fs.FileInfo) string { return "" }
