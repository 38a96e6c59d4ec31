//go:build unix

package tasks

import (
	"fmt"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/layshaft/layshaft/internal/outside"
	"github.com/layshaft/layshaft/tasks"
)

// outsider is a language with a client and a worker of Gearman's. Its worker has the functions
// LANGUAGE-echo, which reports 1 of 2, and LANGUAGE-bad, which fails. Its client calls function in
// the foreground with each priority and a unique key, prints a line for each answer, hands jobs of
// LANGUAGE-later over in the background, and prints what it is told of the last: known 1.
type outsider struct {
	name           string
	needs          []outside.Package
	worker, client func(host, port, function string) *exec.Cmd
	answers        int // lines of the client with the answer
	later          int // jobs in the background
}

const perlWorker = `use Gearman::Worker; my $w = Gearman::Worker->new(job_servers => [$ARGV[0]]);
$w->register_function("perl-echo" => sub { $_[0]->set_status(1, 2); $_[0]->arg });
$w->register_function("perl-bad" => sub { return undef });
$w->work while 1;`

const perlClient = `use Gearman::Client; my $c = Gearman::Client->new(job_servers => [$ARGV[0]]); my $f = $ARGV[1];
print "answer ", ${$c->do_task($f => "payload")}, "\n";
my $set = $c->new_task_set;
for my $p (qw(high normal low)) { $set->add_task($f => "payload", {priority => $p, uniq => "u$p", on_complete => sub { print "answer ${$_[0]}\n" }}) }
$set->wait(timeout => 30);
my $h; for (qw(1 2 3)) { $h = $c->dispatch_background("perl-later" => "x$_") }
print "known ", ($c->get_status($h)->known ? 1 : 0), "\n";`

const phpWorker = `$w = new GearmanWorker(); $w->addServer($argv[1], (int)$argv[2]);
$w->addFunction("php-echo", function ($job) { $job->sendStatus(1, 2); $job->sendWarning("careful"); return $job->workload(); });
$w->addFunction("php-bad", function ($job) { $job->sendFail(); });
while (@$w->work());`

const phpClient = `$c = new GearmanClient(); $c->addServer($argv[1], (int)$argv[2]); $c->setTimeout(30000); $f = $argv[3];
foreach (["doNormal", "doHigh", "doLow"] as $do) { echo "answer ", $c->$do($f, "payload", $do), "\n"; }
$c->setCompleteCallback(function ($t) { echo "answer ", $t->data(), "\n"; });
$c->addTask($f, "payload"); $c->addTaskHigh($f, "payload"); $c->addTaskLow($f, "payload"); $c->runTasks();
foreach (["doBackground", "doHighBackground", "doLowBackground"] as $do) { $h = $c->$do("php-later", "x$do"); }
echo "known ", $c->jobStatus($h)[0] ? 1 : 0, "\n";`

var outsiders = []outsider{
	{name: "perl", needs: []outside.Package{outside.Perl}, answers: 4, later: 3,
		worker: func(host, port, _ string) *exec.Cmd { return exec.Command("perl", "-e", perlWorker, host+":"+port) },
		client: func(host, port, f string) *exec.Cmd { return exec.Command("perl", "-e", perlClient, host+":"+port, f) }},
	{name: "php", needs: []outside.Package{outside.PHPCLI, outside.PHP}, answers: 6, later: 3,
		worker: func(host, port, _ string) *exec.Cmd { return exec.Command("php", "-r", phpWorker, "--", host, port) },
		client: func(host, port, f string) *exec.Cmd { return exec.Command("php", "-r", phpClient, "--", host, port, f) }},
	{name: "tool", needs: []outside.Package{outside.Gearman}, answers: 4, later: 3,
		worker: func(host, port, _ string) *exec.Cmd {
			return exec.Command("gearman", "-h", host, "-p", port, "-w", "-f", "tool-echo", "-f", "tool-bad", "--", "sh", "-c", "cat")
		},
		client: func(host, port, f string) *exec.Cmd {
			return exec.Command("sh", "-ec", `g="gearman -h $1 -p $2"
for mode in "" -I -L "-u key"; do echo "answer $($g $mode -f "$3" payload)"; done
for mode in -I -L ""; do $g -b $mode -f tool-later "x$mode"; done
gearadmin -h $1 -p $2 --show-jobs | grep -q '^H:' && echo known 1`, "-", host, port, f)
		}},
}

// Clients and workers in other languages work against the coordinator unchanged: with each other,
// and with those in Go. What they hand over in the background survives a kill of the coordinator.
func TestClientsOfOthers(t *testing.T) {
	t.Parallel()
	for _, o := range outsiders {
		t.Run(o.name, func(t *testing.T) {
			outside.Need(t, o.needs...)
			c := newCluster(t)
			c.worker(t, "-concurrency", "4")
			host, port, err := net.SplitHostPort(c.gearman)
			if err != nil {
				t.Fatal(err)
			}
			worker := o.worker(host, port, "")
			if err := worker.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				_ = worker.Process.Kill()
				_ = worker.Wait()
			})
			c.await(t, "the worker", func(v tasks.Overview) bool { return function(v, o.name+"-echo").Workers == 1 })
			for at, f := range []string{o.name + "-echo", "echo"} { // its own worker, and one in Go
				client := o.client(host, port, f)
				said, err := client.CombinedOutput()
				if err != nil || strings.Count(string(said), "answer payload\n") != o.answers || !strings.Contains(string(said), "known 1\n") {
					t.Errorf("its client calls %s: %v\n%s", f, err, said)
				}
				c.await(t, "jobs in the background", func(v tasks.Overview) bool {
					return function(v, o.name+"-later").Counts.Waiting == (at+1)*o.later
				})
			}
			// Go calls its worker.
			for _, p := range []tasks.Priority{tasks.High, tasks.Normal, tasks.Low} {
				if out, err := tasks.Do[string](within(t), c.Client, o.name+"-echo", "hello", p); err != nil || out != "hello" {
					t.Errorf("Go calls its worker: %q, %v", out, err)
				}
			}
			if o.name != "tool" { // whose worker cannot fail
				if _, err := tasks.Do[string](within(t), c.Client, o.name+"-bad", "", tasks.Attempts(1)); err == nil || !strings.Contains(err.Error(), "failed") {
					t.Errorf("a failure of its worker: %v", err)
				}
			}
			c.coordinator.Kill()
			c.start(t)
			c.await(t, "jobs in the background after a kill", func(v tasks.Overview) bool { return function(v, o.name+"-later").Counts.Waiting == 2*o.later })
			if o.name == "tool" { // others find the server again as their libraries have it
				return
			}
			for deadline := time.Now().Add(patience); ; {
				said, err := o.client(host, port, "echo").CombinedOutput()
				if err == nil && strings.Count(string(said), "answer payload\n") == o.answers {
					break
				}
				if time.Now().After(deadline) {
					t.Fatal(fmt.Errorf("its client after a restart: %w\n%s", err, said))
				}
			}
		})
	}
}
