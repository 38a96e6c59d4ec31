// Package python finds Python and the packages that tests need.
package python

import (
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"

	"github.com/layshaft/layshaft/internal/outside"
)

// Python is an interpreter that finds some packages.
type Python struct {
	Program string // path of the interpreter
	Path    string // value of PYTHONPATH
}

// Env returns the variables that make the interpreter find its packages, and write none of its own
// files beside sources.
func (p Python) Env() []string {
	return []string{"PYTHONPATH=" + p.Path, "PYTHONDONTWRITEBYTECODE=1"}
}

// mu is held while packages are installed.
var mu sync.Mutex

// Find returns Python with packages such as "grpcio>=1.66". Packages that are missing are installed
// with pip into the user's cache, under the same conditions as in outside.Need. The error is the
// reason to skip a test.
func Find(requirements ...string) (Python, error) {
	mu.Lock()
	defer mu.Unlock()
	program, err := exec.LookPath("python3")
	if err != nil {
		return Python{}, errors.New("python3 is not installed")
	}
	out, err := exec.Command(program, "-c", "import sys; print('%d.%d' % sys.version_info[:2]); sys.exit(sys.version_info < (3, 10))").Output()
	version := strings.TrimSpace(string(out))
	if err != nil {
		return Python{}, fmt.Errorf("Python %s is too old; 3.10 or later is needed", version)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return Python{}, fmt.Errorf("no place for Python's packages: %w", err)
	}
	h := fnv.New32a()
	fmt.Fprint(h, requirements)
	p := Python{program, filepath.Join(cache, "layshaft-tools", fmt.Sprintf("python-%s-%x", version, h.Sum32()))}
	if _, err := os.Stat(p.Path); err == nil {
		return p, nil
	}
	if !outside.Installs() {
		return Python{}, fmt.Errorf("%s are not in %s; set %s=1 for the test to install them with pip", strings.Join(requirements, ", "), p.Path, outside.InstallEnv)
	}
	return p, install(p, requirements)
}

// FindLayshaft returns Python with the package in dir, the folder python of this repository, and
// with what the package requires.
func FindLayshaft(dir string) (Python, error) {
	project, err := os.ReadFile(filepath.Join(dir, "pyproject.toml"))
	if err != nil {
		return Python{}, err
	}
	list := regexp.MustCompile(`(?m)^dependencies = \[(.*)\]$`).FindSubmatch(project)
	if list == nil {
		return Python{}, errors.New("pyproject.toml has no line with dependencies")
	}
	var requirements []string
	for _, quoted := range regexp.MustCompile(`"([^"]*)"`).FindAllStringSubmatch(string(list[1]), -1) {
		requirements = append(requirements, quoted[1])
	}
	p, err := Find(requirements...)
	if err != nil {
		return Python{}, err
	}
	source, err := filepath.Abs(filepath.Join(dir, "src"))
	p.Path = source + string(os.PathListSeparator) + p.Path
	return p, err
}

// install installs packages into a new directory, p.Path.
func install(p Python, requirements []string) error {
	if err := os.MkdirAll(filepath.Dir(p.Path), 0o755); err != nil {
		return err
	}
	made, err := os.MkdirTemp(filepath.Dir(p.Path), "tmp.")
	if err != nil {
		return err
	}
	defer os.RemoveAll(made)
	args := append([]string{"-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:", "--target", made}, requirements...)
	if out, err := exec.Command(p.Program, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("pip install %s: %w\n%s", strings.Join(requirements, " "), err, out[max(0, len(out)-500):])
	}
	if err := os.Rename(made, p.Path); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return nil
}
