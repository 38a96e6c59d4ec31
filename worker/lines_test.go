package worker

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/layshaft/layshaft/internal/wire"
	"github.com/layshaft/layshaft/worker/internal/runner"
)

// A flood of output keeps to the rate. The latest lines are kept, the others counted.
func TestLinesAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLines()
		write := func(n int) {
			for i := range n {
				l.add("j", runner.Line{At: time.Now(), Attempts: []string{"0/1#1"}, Text: fmt.Appendf(nil, "%06d%s", i, strings.Repeat("x", 1000))})
			}
		}
		var lines, bytes, omitted int64
		last := ""
		read := func(d time.Duration) {
			for end := time.After(d); ; {
				select {
				case <-l.wake:
					for _, m := range l.take() {
						for _, x := range m.GetOutput().GetLines() {
							lines++
							bytes += int64(len(x.GetText()))
							omitted += x.GetOmitted()
							last = string(x.GetText()[:6])
						}
					}
				case <-end:
					return
				}
			}
		}
		for range 10 {
			write(1000)
			read(time.Second)
		}
		read(10 * time.Second) // the rest
		if lines+omitted != 10_000 || last != "000999" || bytes > lineBurst+20*lineRate || bytes < 10*lineRate {
			t.Errorf("%d lines, %d bytes, %d omitted, the last %s", lines, bytes, omitted, last)
		}
		l.setWanted(false)
		write(1)
		time.Sleep(time.Minute)
		if got := l.take(); got != nil {
			t.Errorf("%v for a coordinator that wants none", got)
		}
	})
}

// However many attempts may have written a line, the lines of a message fit into it.
func TestLinesFitIntoMessages(t *testing.T) {
	l := newLines()
	var all []string
	for i := range 5000 {
		all = append(all, fmt.Sprintf("0/%d#1", i))
	}
	for range 10_000 {
		l.add("j", runner.Line{At: time.Now(), Attempts: all})
	}
	for _, m := range l.take() {
		if n := proto.Size(m); n > wire.MaxMessage/4 {
			t.Errorf("a message of %d bytes", n)
		}
	}
}
