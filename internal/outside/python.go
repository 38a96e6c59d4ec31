package outside

import (
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Python returns the Python that programs of a test run with, and a value of PYTHONPATH with the
// required packages, such as "grpcio>=1.66". Packages that are missing are installed with pip into
// the user's cache, under the same conditions as in [Need]; otherwise the test is skipped, with the
// reason.
func Python(t testing.TB, requirements ...string) (python, path string) {
	t.Helper()
	if testing.Short() && !installs() {
		t.Skip("needs Python, which short mode leaves out")
	}
	mu.Lock()
	defer mu.Unlock()
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("python3 is not installed")
	}
	version, err := exec.Command(python, "-c", "import sys; print('%d.%d' % sys.version_info[:2]); sys.exit(sys.version_info < (3, 10))").Output()
	if err != nil {
		t.Skipf("Python %s is too old; 3.10 or later is needed", strings.TrimSpace(string(version)))
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Skipf("no place for Python's packages: %v", err)
	}
	h := fnv.New32a()
	fmt.Fprint(h, requirements)
	path = filepath.Join(cache, "layshaft-tools", fmt.Sprintf("python-%s-%x", strings.TrimSpace(string(version)), h.Sum32()))
	if _, err := os.Stat(path); err == nil {
		return python, path
	}
	if !installs() {
		t.Skipf("%s are not in %s; set %s=1 for the test to install them with pip", strings.Join(requirements, ", "), path, InstallEnv)
	}
	if err := pip(python, path, requirements); err != nil {
		t.Skip(err)
	}
	return python, path
}

// pip installs packages into a new directory.
func pip(python, dir string, requirements []string) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	made, err := os.MkdirTemp(filepath.Dir(dir), "tmp.")
	if err != nil {
		return err
	}
	defer os.RemoveAll(made)
	args := append([]string{"-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:", "--target", made}, requirements...)
	if out, err := exec.Command(python, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("pip install %s: %w\n%s", strings.Join(requirements, " "), err, out[max(0, len(out)-500):])
	}
	if err := os.Rename(made, dir); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return nil
}
