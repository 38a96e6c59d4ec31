package worker

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/layshaft/layshaft/internal/state"
)

// A worker refuses an identity and programs of a newer release.
func TestNewerFormat(t *testing.T) {
	dir := t.TempDir()
	want := func(err error) {
		t.Helper()
		if !errors.Is(err, state.ErrFormat) || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "use the newer release that wrote it, or another directory") {
			t.Errorf("%v, want ErrFormat, the directory and the way out", err)
		}
	}
	s, err := loadIdentity(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.setCluster("c", 3); err != nil {
		t.Fatal(err)
	}
	if again, err := loadIdentity(dir); err != nil || again.ID != s.ID || again.Cluster != "c" || again.Epoch != 3 {
		t.Errorf("%+v, %v", again, err)
	}
	// the type of the ID is another one there
	if err := state.WriteFile(s.path, []byte(`{"format":"layshaft worker 2","id":7}`+"\n")); err != nil {
		t.Fatal(err)
	}
	_, err = loadIdentity(dir)
	want(err)

	code := filepath.Join(dir, "code")
	for range 2 {
		c, err := openCodeStore(code, nil, "", true)
		if err != nil {
			t.Fatal(err)
		}
		c.max = 0
		if err := c.removeUnneeded(); err != nil { // keeps FORMAT
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(code, state.FormatName), []byte("layshaft programs 2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = openCodeStore(code, nil, "", true)
	want(err)
}

// A data directory belongs to the first certificate with which its worker started.
func TestCertificateOfDirectory(t *testing.T) {
	dir := t.TempDir()
	for _, tt := range []struct{ certificate, want string }{
		{"", ""}, // without certificates at first
		{"worker/w1", ""},
		{"worker/w1", ""},
		{"", ""}, // and again for a while
		{"worker/w2", "belongs to the worker with the certificate of worker/w1, and this process has the one of worker/w2"},
		{"worker/w1", ""},
	} {
		s, err := loadIdentity(dir)
		if err == nil {
			if err = s.bind(tt.certificate); err == nil {
				err = s.save()
			}
		}
		if (err == nil) != (tt.want == "") || err != nil && !(strings.Contains(err.Error(), tt.want) && strings.Contains(err.Error(), s.path+".copy")) {
			t.Errorf("certificate %q: %v, want %q", tt.certificate, err, tt.want)
		}
	}
}
