package child

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
)

// Code describes a program's file.
type Code struct {
	SHA256   string // of the whole file, in hex
	Platform string // GOOS/GOARCH
	// Dynamic is the required loader, such as /lib64/ld-linux-x86-64.so.2; empty for a static
	// program.
	Dynamic string
	Size    int64 // bytes
}

// Inspect reads a program's file. It returns an error with the path and a way out when the file is
// not an executable in a known format. It reads the whole file, at about 1 GB/s.
func Inspect(path string) (Code, error) {
	var c Code
	f, err := os.Open(path)
	if err != nil {
		return c, err
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		return c, errors.Join(fmt.Errorf("%s is not a regular file; give the path of a compiled program", path), err)
	}
	if err := c.header(f); err != nil {
		return c, fmt.Errorf("%s: %w; give the path of a compiled program", path, err)
	}
	h := sha256.New()
	if c.Size, err = io.CopyBuffer(struct{ io.Writer }{h}, struct{ io.Reader }{f}, make([]byte, 1<<20)); err != nil {
		return c, err
	}
	c.SHA256 = hex.EncodeToString(h.Sum(nil))
	return c, nil
}
