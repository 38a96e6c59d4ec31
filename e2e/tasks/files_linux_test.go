package tasks

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/layshaft/layshaft/e2e/internal/proc"
	"github.com/layshaft/layshaft/internal/porttest"
	"github.com/layshaft/layshaft/tasks"
)

// A coordinator without free file descriptors names the reason to clients of both ports and, once,
// in its log. Clients that are connected work on, and new ones do once others have left.
func TestFewFiles(t *testing.T) {
	t.Parallel()
	// The last connection finds 1 or 2 descriptors. It must not need more than that.
	for _, limit := range []int{64, 65} {
		t.Run(fmt.Sprint(limit), func(t *testing.T) { testFewFiles(t, limit) })
	}
}

func testFewFiles(t *testing.T, limit int) {
	c := &cluster{address: porttest.Free(t), gearman: porttest.Free(t), dir: t.TempDir()}
	begun := time.Now()
	c.coordinator = proc.Start(t, patience, "layshaft coordinator", exec.Command("/bin/sh", "-c",
		fmt.Sprintf("ulimit -n %d; exec '%s' coordinator -data '%s' -listen %s -gearman %s -http none -gossip 127.0.0.1:0",
			limit, filepath.Join(binDir, "layshaft"), c.dir, c.address, c.gearman)))
	client, err := tasks.Dial(tasks.Cluster{Address: c.address, Connect: patience, Patience: patience})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := tasks.Enqueue(within(t), client, "f", "first"); err != nil {
		t.Fatal(err)
	}
	if log := c.coordinator.Err.String(); !strings.Contains(log, "few file descriptors") {
		t.Errorf("no warning at the start:\n%s", log)
	}
	var conns []net.Conn
	defer func() {
		for _, x := range conns {
			_ = x.Close()
		}
	}()
	// version asks a new connection for the version, and returns the answer.
	version := func() string {
		x, err := net.DialTimeout("tcp", c.gearman, patience)
		if err != nil {
			t.Fatal(err)
		}
		_ = x.SetDeadline(time.Now().Add(patience))
		if _, err := io.WriteString(x, "version\n"); err != nil {
			t.Fatal(err)
		}
		answer, _ := bufio.NewReader(x).ReadString('\n')
		if strings.HasPrefix(answer, "OK") {
			conns = append(conns, x)
		} else {
			_ = x.Close()
		}
		return answer
	}
	for range 3 {
		answer := version()
		for n := 0; strings.HasPrefix(answer, "OK"); n++ {
			if n == limit {
				t.Fatalf("%d connections with as many descriptors", limit)
			}
			answer = version()
		}
		if !strings.Contains(answer, "TOO_MANY_FILES") || !strings.Contains(answer, "ulimit -n") {
			t.Errorf("a Gearman client gets %q", answer)
		}
	}
	submitted := 102
	for n := 0; ; n++ {
		other, err := tasks.Dial(tasks.Cluster{Address: c.address, Connect: 2 * time.Second, Patience: 2 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		defer other.Close()
		_, err = tasks.Enqueue(context.Background(), other, "f", "other")
		if err == nil && n < 5 { // it got the last descriptor
			submitted++
			continue
		}
		if err == nil || !strings.Contains(err.Error(), "is out of file descriptors") {
			t.Errorf("a new client: %v", err)
		}
		break
	}
	for i := range 100 {
		if _, err := tasks.Enqueue(within(t), client, "f", i); err != nil {
			t.Fatalf("a connected client: %v", err)
		}
	}
	log := c.coordinator.Err.String()
	for _, port := range []string{c.gearman, c.address} {
		n := 0
		for line := range strings.SplitSeq(log, "\n") {
			if strings.Contains(line, "out of file descriptors") && strings.Contains(line, "address="+port+" ") {
				n++
			}
		}
		if n < 1 || n > 1+int(time.Since(begun).Minutes()) {
			t.Errorf("%d lines about %s, want 1 a minute:\n%s", n, port, log)
		}
	}

	for _, x := range conns {
		_ = x.Close()
	}
	conns = nil
	closed := time.Now()
	if _, err := tasks.Enqueue(within(t), client, "f", "last"); err != nil {
		t.Error(err)
	}
	fresh, err := tasks.Dial(tasks.Cluster{Address: c.address, Connect: patience, Patience: patience})
	if err != nil {
		t.Fatal(err)
	}
	defer fresh.Close()
	if o, err := fresh.Overview(within(t)); err != nil || o.Totals.Waiting != submitted {
		t.Errorf("a new client afterwards: %+v, %v", o.Totals, err)
	}
	for answer := version(); !strings.HasPrefix(answer, "OK"); answer = version() {
		if time.Since(closed) > patience {
			t.Fatalf("a Gearman client afterwards gets %q", answer)
		}
	}
}
