package compare

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Output is how to compare the outputs of two programs. An output is a file, or a directory whose
// files are read in the order of their names, except manifest.json and names with a leading dot.
type Output int

// The ways to compare.
const (
	AnyOrder Output = iota // the same lines, each as often
	InOrder                // the same bytes
	Ignored                // not at all
)

// Sum identifies an output by its numbers of Lines and Bytes and a hash of its content.
type Sum struct {
	Lines, Bytes int64
	hash         [sha256.Size]byte
}

func (s Sum) String() string {
	return fmt.Sprintf("%d lines, %d bytes, hash %x", s.Lines, s.Bytes, s.hash[:8])
}

func (o Output) sum(path string) (Sum, error) {
	add, done := inOrder()
	if o == AnyOrder {
		add, done = anyOrder()
	}
	var s Sum
	// WalkDir visits names in order.
	err := filepath.WalkDir(path, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		hidden := file != path && (d.Name() == "manifest.json" || strings.HasPrefix(d.Name(), "."))
		switch {
		case hidden && d.IsDir():
			return fs.SkipDir
		case hidden || d.IsDir():
			return nil
		}
		return s.read(file, add)
	})
	if err != nil {
		return Sum{}, err
	}
	s.hash = done()
	return s, nil
}

// longestLine is in bytes. It limits memory, for the sake of peakRSS.
const longestLine = 64 << 10

// read passes every line to add, with its line feed. It adds a missing line feed to the last
// line.
func (s *Sum) read(path string, add func(line []byte)) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, longestLine)
	for {
		line, err := r.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			return fmt.Errorf("%s: line longer than %d bytes", path, longestLine)
		}
		if err == io.EOF && len(line) > 0 {
			line = append(line[:len(line):len(line)], '\n')
		}
		if len(line) > 0 {
			s.Lines++
			s.Bytes += int64(len(line))
			add(line)
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func inOrder() (add func(line []byte), done func() [sha256.Size]byte) {
	h := sha256.New()
	return func(line []byte) { h.Write(line) }, func() [sha256.Size]byte { return [sha256.Size]byte(h.Sum(nil)) }
}

// anyOrder adds up the hashes of all lines, as four numbers each. The sum does not depend on the
// order, and needs no memory, unlike a hash of the sorted lines. Unlike an exclusive or, it
// counts repeated lines.
func anyOrder() (add func(line []byte), done func() [sha256.Size]byte) {
	var total [4]uint64
	add = func(line []byte) {
		h := sha256.Sum256(line)
		for i := range total {
			total[i] += binary.LittleEndian.Uint64(h[8*i:])
		}
	}
	done = func() (h [sha256.Size]byte) {
		for i, t := range total {
			binary.LittleEndian.PutUint64(h[8*i:], t)
		}
		return h
	}
	return add, done
}
