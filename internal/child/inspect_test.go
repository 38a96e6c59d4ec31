package child

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

func TestInspectSelf(t *testing.T) {
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c, err := Inspect(path)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(b)
	if c.SHA256 != hex.EncodeToString(sum[:]) || c.Size != int64(len(b)) || c.Platform != runtime.GOOS+"/"+runtime.GOARCH {
		t.Errorf("%+v", c)
	}
}

// elfFile is the head of a program for Linux, with or without a loader.
func elfFile(machine uint16, loader string) []byte {
	b := make([]byte, 64+56)
	copy(b, "\x7fELF\x02\x01\x01")
	le := binary.LittleEndian
	le.PutUint16(b[16:], 2) // executable
	le.PutUint16(b[18:], machine)
	le.PutUint32(b[20:], 1)
	le.PutUint64(b[32:], 64) // program headers
	le.PutUint16(b[52:], 64)
	le.PutUint16(b[54:], 56)
	le.PutUint16(b[58:], 64)
	if loader != "" {
		le.PutUint16(b[56:], 1)
		le.PutUint32(b[64:], 3) // PT_INTERP
		le.PutUint64(b[64+8:], uint64(len(b)))
		le.PutUint64(b[64+32:], uint64(len(loader)+1))
		le.PutUint64(b[64+40:], uint64(len(loader)+1))
		b = append(append(b, loader...), 0)
	}
	return b
}

func TestInspect(t *testing.T) {
	for name, tt := range map[string]struct {
		file              []byte
		platform, dynamic string
		err               string
	}{
		"static":    {elfFile(183, ""), "linux/arm64", "", ""},
		"dynamic":   {elfFile(62, "/lib64/ld-linux-x86-64.so.2"), "linux/amd64", "/lib64/ld-linux-x86-64.so.2", ""},
		"processor": {elfFile(22222, ""), "", "", "processor"},
		"script":    {[]byte("#!/bin/sh\necho\n"), "", "", "compiled program"},
		"empty":     {nil, "", "", "compiled program"},
		"cut":       {elfFile(62, "/lib/ld.so")[:100], "", "", "compiled program"},
	} {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, tt.file, 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := Inspect(path)
		if c.Platform != tt.platform || c.Dynamic != tt.dynamic || (err == nil) != (tt.err == "") || err != nil && !(strings.Contains(err.Error(), tt.err) && strings.Contains(err.Error(), path)) {
			t.Errorf("%s: %+v, %v", name, c, err)
		}
	}
	if _, err := Inspect(t.TempDir()); err == nil {
		t.Error("a directory is no program")
	}
}

func FuzzInspect(f *testing.F) {
	f.Add(elfFile(62, "/lib64/ld-linux-x86-64.so.2"))
	f.Add([]byte("MZ"))
	f.Add([]byte("\xcf\xfa\xed\xfe\x07\x00\x00\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(t.TempDir(), "program")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if c, err := Inspect(path); err == nil && (c.Size != int64(len(b)) || strings.HasPrefix(c.Platform, "/")) {
			t.Errorf("%+v of %d bytes", c, len(b))
		}
	})
}
