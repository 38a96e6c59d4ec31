// Package outside is for tests with third-party programs.
package outside

import (
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
)

// Package is a Debian package with a program for a test.
type Package struct {
	// Name is the argument of apt-get install.
	Name string
	// Command must be in the PATH. Check, if set, lists arguments for a trial run, which must
	// succeed.
	Command string
	Check   []string
}

// InstallEnv makes tests install missing packages with apt-get, as CI does. This needs root.
const InstallEnv = "LAYSHAFT_TEST_INSTALL"

// mu is held while packages are installed; "apt-get update" runs once.
var (
	mu     sync.Mutex
	update sync.Once
)

// missing returns the reason not to use a package, or "".
func (p Package) missing() string {
	if _, err := exec.LookPath(p.Command); err != nil {
		return p.Command + " is not installed"
	}
	if len(p.Check) > 0 {
		if out, err := exec.Command(p.Command, p.Check...).CombinedOutput(); err != nil {
			return strings.TrimSpace(p.Command + " lacks a part: " + string(out[:min(len(out), 100)]))
		}
	}
	return ""
}

// Installs reports whether missing packages are to be installed.
func Installs() bool { return os.Getenv("CI") != "" || os.Getenv(InstallEnv) != "" }

// Need skips the test, with the reason, if packages are missing. In CI, or with InstallEnv set,
// it installs them first. Elsewhere it skips the test in short mode, too.
func Need(t testing.TB, packages ...Package) {
	t.Helper()
	if testing.Short() && !Installs() {
		t.Skip("needs another program, which short mode leaves out")
	}
	mu.Lock()
	defer mu.Unlock()
	for _, p := range packages {
		why := p.missing()
		if why == "" {
			continue
		}
		if !Installs() {
			t.Skipf("%s: install Debian's %s, or set %s=1 for the test to do so", why, p.Name, InstallEnv)
		}
		apt, err := exec.LookPath("apt-get")
		if err != nil || os.Geteuid() != 0 {
			t.Skipf("%s: install Debian's %s; the test could not, for want of apt-get or of root's rights", why, p.Name)
		}
		update.Do(func() { _ = exec.Command(apt, "-qq", "-o", "DPkg::Lock::Timeout=120", "update").Run() })
		install := exec.Command(apt, "-qq", "-y", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=120", "install", p.Name)
		install.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if out, err := install.CombinedOutput(); err != nil {
			t.Skipf("%s, and apt-get install %s: %v\n%s", why, p.Name, err, out[max(0, len(out)-500):])
		}
		if why := p.missing(); why != "" {
			t.Skipf("%s, although %s was installed", why, p.Name)
		}
	}
}

// Programs for the Gearman protocol.
var (
	Gearman = Package{Name: "gearman-tools", Command: "gearman"}
	Perl    = Package{Name: "libgearman-client-perl", Command: "perl", Check: []string{"-MGearman::Client", "-MGearman::Worker", "-e", "1"}}
	PHP     = Package{Name: "php-gearman", Command: "php", Check: []string{"-r", "exit(extension_loaded('gearman') ? 0 : 1);"}}
	PHPCLI  = Package{Name: "php-cli", Command: "php"}
)

// Postgres is the server of package internal/pgtest. Its programs are outside the PATH.
var Postgres = Package{Name: "postgresql", Command: "pg_lsclusters"}

// The parts of Slurm. munged and the daemons are in /usr/sbin, which must be in the PATH.
var (
	Munge  = Package{Name: "munge", Command: "munged"}
	Slurm  = Package{Name: "slurm-wlm", Command: "slurmctld"}
	Slurmd = Package{Name: "slurm-wlm", Command: "slurmd"}
)
