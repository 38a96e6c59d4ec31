package mapreduce

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/report"
	"io"
	"strings"
	"time"
)

// abandon cancels the job, unless the user at the terminal lets it continue.
func (e *cluster) abandon(ctx context.Context, why string) error {
	if st, ok := e.status(); ok && st.Outcome != report.JobRunning {
		return nil
	}
	if e.askDetach != nil && e.askDetach() {
		e.detach = true
		return e.client.Detach(ctx, e.spec.ID)
	}
	return e.client.Cancel(ctx, e.spec.ID, why)
}

// stop releases the job: its result has been read or is not wanted.
func (e *cluster) stop() error {
	e.once.Do(func() {
		if !e.detach {
			ctx, cancel := context.WithTimeout(e.ctx, 10*time.Second)
			e.err = e.client.Release(ctx, e.spec.ID)
			cancel()
		}
		e.err = errors.Join(e.err, e.disconnect())
	})
	return e.err
}

var errLeft = errors.New("the client has left")

// disconnect ends everything in the background and closes all connections.
func (e *cluster) disconnect() error {
	e.cancel(errLeft)
	e.group.Wait()
	var errs []error
	for _, w := range e.holders {
		errs = append(errs, w.conn.Close())
	}
	if e.lender != nil {
		errs = append(errs, e.lender.Close())
	}
	return errors.Join(append(errs, e.client.Close())...)
}

// askDetach asks at the terminal whether an interrupted job continues. A job that lends files of
// this machine cannot continue.
func askDetach(t *settings, id job.ID, in io.Reader, lends bool) bool {
	if lends {
		fmt.Fprintf(t.Err, "\nlayshaft: job %s ends with this program, as it reads or writes files of this machine, or holds the snapshot of a database\n", id)
		return false
	}
	fmt.Fprint(t.Err, "\nlayshaft: continue the job without this program? [y/N] ")
	line, err := bufio.NewReader(in).ReadString('\n')
	if err != nil || !strings.HasPrefix(strings.ToLower(strings.TrimSpace(line)), "y") {
		return false
	}
	t.note("job %s continues on %s; layshaft job wait %s waits for its end, and the same command reads its rows", id, t.cluster.Address, id)
	return true
}
