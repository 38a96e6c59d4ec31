package child

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Package debug/elf and its neighbours read such files, too. They would add 600 KB to every
// program: readers of debug information, symbols and relocations.

// maxLoader is the limit of the path of a loader, in bytes.
const maxLoader = 4 << 10

// The processors of the formats, by their GOARCH.
var (
	elfProcessors   = map[uint16]string{3: "386", 8: "mips", 21: "ppc64", 22: "s390x", 40: "arm", 62: "amd64", 183: "arm64", 243: "riscv64", 258: "loong64"}
	machoProcessors = map[uint32]string{0x01000007: "amd64", 0x0100000c: "arm64"}
	peProcessors    = map[uint16]string{0x14c: "386", 0x8664: "amd64", 0xaa64: "arm64"}
	// elfSystems are the operating systems that ELF files name; others are taken for Linux.
	elfSystems = map[byte]string{2: "netbsd", 6: "solaris", 9: "freebsd", 12: "openbsd"}
)

// header finds the platform and the loader.
func (c *Code) header(f io.ReaderAt) error {
	head := make([]byte, 64) // longer than the part of any format that is read here
	n, err := f.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	var goos, goarch string
	switch {
	case n == len(head) && bytes.HasPrefix(head, []byte("\x7fELF")):
		goos, goarch, c.Dynamic, err = readELF(f, head)
	case n == len(head) && binary.LittleEndian.Uint32(head) == 0xfeedfacf:
		goos, goarch = "darwin", machoProcessors[binary.LittleEndian.Uint32(head[4:])]
	case n == len(head) && bytes.HasPrefix(head, []byte("MZ")):
		goos = "windows"
		goarch, err = readPE(f, int64(binary.LittleEndian.Uint32(head[60:])))
	default:
		return errors.New("neither an ELF, Mach-O nor PE file")
	}
	if err != nil {
		return fmt.Errorf("its header is damaged: %w", err)
	}
	if goarch == "" {
		return errors.New("it is for a processor that is not known here")
	}
	c.Platform = goos + "/" + goarch
	return nil
}

// readELF reads the headers of an ELF file; head is its beginning.
func readELF(r io.ReaderAt, head []byte) (goos, goarch, loader string, err error) {
	var order binary.ByteOrder = binary.LittleEndian
	if head[5] == 2 {
		order = binary.BigEndian
	}
	machine := order.Uint16(head[18:])
	wide := head[4] == 2
	// the table of segments: its place, the size of an entry, their number
	at, size, n := uint64(order.Uint32(head[28:])), order.Uint16(head[42:]), order.Uint16(head[44:])
	entry := make([]byte, 32)
	if wide {
		at, size, n = order.Uint64(head[32:]), order.Uint16(head[54:]), order.Uint16(head[56:])
		entry = make([]byte, 56)
	}
	for i := range int64(n) {
		if _, err := r.ReadAt(entry, int64(at)+i*int64(size)); err != nil {
			return "", "", "", err
		}
		place, length := uint64(order.Uint32(entry[4:])), uint64(order.Uint32(entry[16:]))
		if wide {
			place, length = order.Uint64(entry[8:]), order.Uint64(entry[32:])
		}
		const interpreter = 3 // the type of the segment with the path of the loader
		if order.Uint32(entry) == interpreter && length < maxLoader {
			path := make([]byte, length)
			if _, err := r.ReadAt(path, int64(place)); err != nil {
				return "", "", "", err
			}
			loader = string(bytes.TrimRight(path, "\x00"))
		}
	}
	if goos = elfSystems[head[7]]; goos == "" {
		goos = "linux"
	}
	goarch = elfProcessors[machine]
	if goarch == "mips" && wide {
		goarch = "mips64"
	}
	if order == binary.LittleEndian && (goarch == "ppc64" || goarch == "mips" || goarch == "mips64") {
		goarch += "le"
	}
	return goos, goarch, loader, nil
}

// readPE reads the processor from a PE file whose header begins at an offset.
func readPE(r io.ReaderAt, offset int64) (goarch string, err error) {
	mark := make([]byte, 6)
	if _, err := r.ReadAt(mark, offset); err != nil {
		return "", err
	}
	if string(mark[:4]) != "PE\x00\x00" {
		return "", fmt.Errorf("it has %q in place of the mark of a PE file", mark[:4])
	}
	return peProcessors[binary.LittleEndian.Uint16(mark[4:])], nil
}
