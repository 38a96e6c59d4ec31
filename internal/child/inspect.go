package child

import (
	"crypto/sha256"
	"debug/buildinfo"
	"debug/elf"
	"debug/macho"
	"debug/pe"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
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

// header finds the platform and the loader. It does not change the position of f.
func (c *Code) header(f *os.File) error {
	var goos, goarch string
	if x, err := elf.NewFile(f); err == nil {
		goos, goarch = elfSystem(x), elfArch(x)
		for _, p := range x.Progs {
			if p.Type == elf.PT_INTERP && p.Filesz < 4<<10 {
				b, err := io.ReadAll(p.Open())
				if err != nil {
					return err
				}
				c.Dynamic = strings.TrimRight(string(b), "\x00")
			}
		}
	} else if x, err := macho.NewFile(f); err == nil {
		goos, goarch = "darwin", map[macho.Cpu]string{macho.CpuAmd64: "amd64", macho.CpuArm64: "arm64"}[x.Cpu]
	} else if x, err := pe.NewFile(f); err == nil {
		goos, goarch = "windows", map[uint16]string{pe.IMAGE_FILE_MACHINE_AMD64: "amd64", pe.IMAGE_FILE_MACHINE_ARM64: "arm64", pe.IMAGE_FILE_MACHINE_I386: "386"}[x.Machine]
	} else {
		return errors.New("neither an ELF, Mach-O nor PE file")
	}
	if info, err := buildinfo.Read(f); err == nil { // most Go programs contain this information
		for _, s := range info.Settings {
			switch s.Key {
			case "GOOS":
				goos = s.Value
			case "GOARCH":
				goarch = s.Value
			}
		}
	}
	if goarch == "" {
		return errors.New("it is for a processor that is not known here")
	}
	c.Platform = goos + "/" + goarch
	return nil
}

func elfSystem(x *elf.File) string {
	switch x.OSABI {
	case elf.ELFOSABI_FREEBSD:
		return "freebsd"
	case elf.ELFOSABI_NETBSD:
		return "netbsd"
	case elf.ELFOSABI_OPENBSD:
		return "openbsd"
	case elf.ELFOSABI_SOLARIS:
		return "solaris"
	}
	return "linux"
}

func elfArch(x *elf.File) string {
	little := x.Data == elf.ELFDATA2LSB
	switch x.Machine {
	case elf.EM_X86_64:
		return "amd64"
	case elf.EM_AARCH64:
		return "arm64"
	case elf.EM_386:
		return "386"
	case elf.EM_ARM:
		return "arm"
	case elf.EM_RISCV:
		return "riscv64"
	case elf.EM_LOONGARCH:
		return "loong64"
	case elf.EM_S390:
		return "s390x"
	case elf.EM_PPC64:
		if little {
			return "ppc64le"
		}
		return "ppc64"
	}
	return ""
}
