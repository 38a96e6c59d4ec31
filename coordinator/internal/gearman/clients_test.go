package gearman_test

import (
	"fmt"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/layshaft/layshaft/coordinator/internal/desk"
	"github.com/layshaft/layshaft/internal/outside"
)

// Tests with third-party programs for the protocol, if they are installed or can be.

func run(t *testing.T, stdin, command string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), command, args...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", command, args, err, out)
	}
	return string(out)
}

// begin starts a command that runs until the test ends.
func begin(t *testing.T, command string, args ...string) {
	cmd := exec.Command(command, args...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
}

// eventually waits for a line of the text protocol.
func eventually(t *testing.T, addr, command, want string) {
	t.Helper()
	var got string
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		c := dialTCP(t, addr)
		fmt.Fprintln(c, command)
		got, _ = c.r.ReadString('.')
		c.Close()
		if strings.Contains(got, want) {
			return
		}
	}
	t.Fatalf("%s answers %q, want %q in it", command, got, want)
}

func TestCommandLineTools(t *testing.T) {
	outside.Need(t, outside.Gearman)
	addr := startTCP(t, newBroker(t, desk.Config{}, desk.BrokerConfig{}), nil)
	_, port, _ := net.SplitHostPort(addr)
	at := []string{"-h", "127.0.0.1", "-p", port}
	gearman := func(stdin string, args ...string) string {
		t.Helper()
		return run(t, stdin, "gearman", append(at, args...)...)
	}
	begin(t, "gearman", append(at, "-w", "-f", "upper", "--", "tr", "a-z", "A-Z")...)
	eventually(t, addr, "status", "upper\t0\t0\t1")
	for _, mode := range [][]string{{}, {"-I"}, {"-L"}, {"-u", "key"}} {
		if got := gearman("hello", append(mode, "-f", "upper")...); got != "HELLO" {
			t.Errorf("gearman %q = %q, want HELLO", mode, got)
		}
	}
	if got := gearman("one\ntwo\n", "-f", "upper", "-n"); got != "ONE\nTWO\n" {
		t.Errorf("a job for each line = %q", got)
	}
	if got := gearman("", "-f", "upper", "argument"); got != "ARGUMENT" {
		t.Errorf("argument = %q", got)
	}
	for _, mode := range []string{"-I", "-L", "-n"} {
		gearman("later\n", "-b", mode, "-f", "later")
	}
	eventually(t, addr, "status", "later\t3\t0\t0")

	admin := func(args ...string) string {
		t.Helper()
		return run(t, "", "gearadmin", append(at, args...)...)
	}
	for _, c := range []struct{ option, want string }{
		{"--status", "later\t3\t0\t0"}, {"--workers", ": upper"}, {"--server-version", "1.1.20"}, {"--show-jobs", "\t0\t0\t1"},
		{"--priority-status", "later\t1\t1\t1\t0"}, {"--create-function=made", ""}, {"--status", "made\t0\t0\t0"},
		{"--drop-function=made", ""}, {"--getpid", "\n"}, {"--server-verbose", "ERROR"},
	} {
		if got := admin(c.option); !strings.Contains(got, c.want) {
			t.Errorf("gearadmin %s = %q, want %q in it", c.option, got, c.want)
		}
	}
	if got := admin("--status"); strings.Contains(got, "made") {
		t.Errorf("dropped function is still in %q", got)
	}
	for _, line := range strings.Split(admin("--show-jobs"), "\n") {
		if handle, _, ok := strings.Cut(line, "\t"); ok {
			admin("--cancel-job=" + handle)
		}
	}
	eventually(t, addr, "status", "later\t0\t0\t0")
	if got := strings.TrimSpace(admin("--show-unique-jobs")); got != "" && got != "." {
		t.Errorf("unique jobs after all were cancelled: %q", got)
	}
}

const perlWorker = `use Gearman::Worker; my $w = Gearman::Worker->new(job_servers => [$ARGV[0]]);
$w->register_function(sum => sub { my $s = 0; $s += $_ for split /,/, $_[0]->arg; $_[0]->set_status(1, 2); $s });
$w->register_function(bad => sub { return undef });
$w->work while 1;`

const perlClient = `use Gearman::Client; my $c = Gearman::Client->new(job_servers => [$ARGV[0]]);
print ${$c->do_task(sum => "1,2,3")}, "\n";
my ($status, $failed) = ("", 0);
my $set = $c->new_task_set;
$set->add_task(sum => join(",", 1..$_), {uniq => "-", on_complete => sub { print ${$_[0]}, "\n" }, on_status => sub { $status = "$_[0]/$_[1]" }}) for 4;
$set->add_task(bad => "x", {on_fail => sub { $failed++ }});
$set->add_task(sum => "40,2", {priority => "high", on_complete => sub { print "high ${$_[0]}\n" }});
$set->wait(timeout => 10);
print "status $status failed $failed\n";
my $h = $c->dispatch_background(sum => "5,6"); print "background ", ($h ? "yes" : "no"), "\n";
my $s; for (1..100) { $s = $c->get_status($h); last if !$s || !$s->known; select undef, undef, undef, 0.02 } print "known ", ($s && $s->known ? 1 : 0), "\n";`

func TestPerl(t *testing.T) {
	outside.Need(t, outside.Perl)
	addr := startTCP(t, newBroker(t, desk.Config{}, desk.BrokerConfig{}), nil)
	begin(t, "perl", "-e", perlWorker, addr)
	eventually(t, addr, "status", "sum\t0\t0\t1")
	got := run(t, "", "perl", "-e", perlClient, addr)
	for _, want := range []string{"6\n", "10\n", "high 42\n", "status 1/2 failed 1\n", "background yes\n", "known 0\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("Perl client printed %q, want %q in it", got, want)
		}
	}
}

const phpWorker = `$w = new GearmanWorker(); $w->addServer("127.0.0.1", (int)$argv[1]);
$w->addFunction("reverse", function ($job) { $job->sendStatus(1, 4); $job->sendData("part"); $job->sendWarning("careful"); return strrev($job->workload()); });
$w->addFunction("bad", function ($job) { $job->sendException("it broke"); });
while ($w->work());`

const phpClient = `$c = new GearmanClient(); $c->addServer("127.0.0.1", (int)$argv[1]); $c->setTimeout(10000);
foreach (["doNormal", "doHigh", "doLow"] as $do) { echo "$do ", $c->$do("reverse", "hello"), "\n"; }
$c->setExceptionCallback(function ($t) { echo "exception ", $t->data(), "\n"; });
$c->setCompleteCallback(function ($t) { echo "complete ", $t->unique(), " ", $t->data(), "\n"; });
$c->setStatusCallback(function ($t) { echo "status ", $t->taskNumerator(), "/", $t->taskDenominator(), "\n"; });
$c->setDataCallback(function ($t) { echo "data ", $t->data(), "\n"; });
$c->setWarningCallback(function ($t) { echo "warning ", $t->data(), "\n"; });
$c->addTask("reverse", "abc", null, "u1"); $c->addTaskHigh("reverse", "def", null, "u2"); $c->addTaskLow("bad", "x");
$c->runTasks();
foreach (["doBackground", "doHighBackground", "doLowBackground"] as $do) { $h = $c->$do("nobody", "x"); $s = $c->jobStatus($h); echo "$do ", $s[0] ? "known" : "unknown", $s[1] ? " running" : " queued", "\n"; }
echo "ping ", $c->ping("x") ? "yes" : "no", "\n";`

func TestPHP(t *testing.T) {
	outside.Need(t, outside.PHPCLI, outside.PHP)
	addr := startTCP(t, newBroker(t, desk.Config{}, desk.BrokerConfig{}), nil)
	_, port, _ := net.SplitHostPort(addr)
	begin(t, "php", "-r", phpWorker, "--", port)
	eventually(t, addr, "status", "reverse\t0\t0\t1")
	got := run(t, "", "php", "-r", phpClient, "--", port)
	for _, want := range []string{"status 1/4\n", "doNormal partolleh\n", "doHigh partolleh\n", "doLow partolleh\n", "complete u1 cba\n", "complete u2 fed\n",
		"data part\n", "warning careful\n", "exception it broke\n", "doBackground known queued\n", "doHighBackground known queued\n",
		"doLowBackground known queued\n", "ping yes\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("PHP client printed %q, want %q in it", got, want)
		}
	}
}
