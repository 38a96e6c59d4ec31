package gearman

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/layshaft/layshaft/internal/plain"
	"github.com/layshaft/layshaft/internal/report"
)

// A long listing is made in slices, so that other connections can take the lock in between.
const (
	// maxSliceLines is the most lines of one slice.
	maxSliceLines = 500
	// sliceTime is the target time of one slice. If the broker reads jobs from disk, slices get
	// smaller.
	sliceTime = time.Millisecond
)

// textCommand is a command of the text protocol, as sent by gearadmin or by telnet.
type textCommand struct {
	words string // lower case, separated by spaces
	// args and most are the minimum and the maximum number of arguments.
	args, most int
	run        func(c *conn, args []string)
}

// textCommands is searched in order, so a longer command stands before its own prefix.
var textCommands = []textCommand{
	{"version", 0, 0, func(c *conn, _ []string) { c.reply("OK " + c.server.Version + "\n") }},
	{"getpid", 0, 0, func(c *conn, _ []string) { c.reply("OK " + strconv.Itoa(os.Getpid()) + "\n") }},
	{"verbose", 0, 0, func(c *conn, _ []string) { c.reply("OK ERROR\n") }},
	{"status", 0, 0, func(c *conn, _ []string) { c.listFunctions(false) }},
	{"prioritystatus", 0, 0, func(c *conn, _ []string) { c.listFunctions(true) }},
	{"workers", 0, 0, func(c *conn, _ []string) { c.listWorkers() }},
	{"show jobs", 0, 0, func(c *conn, _ []string) { c.listJobs(false) }},
	{"show unique jobs", 0, 0, func(c *conn, _ []string) { c.listJobs(true) }},
	{"show dead jobs", 0, 0, (*conn).listDead},
	{"show waiting jobs", 0, 0, (*conn).listWaiting},
	{"show", 0, math.MaxInt, (*conn).replyShow},
	{"cancel job", 1, 1, (*conn).cancelJob},
	{"create function", 1, 1, (*conn).createFunction},
	{"drop function", 1, 1, (*conn).dropFunction},
	{"maxqueue", 1, 4, (*conn).setMaxQueue},
	{"shutdown", 0, 1, (*conn).shutdown},
	{"cancel", math.MaxInt, 0, nil},
	{"create", math.MaxInt, 0, nil},
	{"drop", math.MaxInt, 0, nil},
}

// command answers one line of the text protocol. Names in it are any bytes, or escaped as in the
// listings. The broker's lock is held; listings release it for a while.
func (c *conn) command(line []byte) {
	words := strings.Fields(string(line))
	for _, t := range textCommands {
		n := strings.Count(t.words, " ") + 1
		if len(words) < n || !strings.EqualFold(strings.Join(words[:n], " "), t.words) {
			continue
		}
		switch args := words[n:]; {
		case len(args) < t.args:
			c.replyInvalid("An incomplete set of arguments was sent to this command " + words[0])
		case len(args) > t.most:
			c.replyInvalid(fmt.Sprintf("%s has %s and takes at most %d", t.words, report.Plural(len(args), "argument"), t.most))
		default:
			t.run(c, args)
		}
		return
	}
	c.replyUnknown(strings.Join(words[:min(len(words), 1)], ""))
}

func (c *conn) replyUnknown(word string) {
	c.reply("ERR UNKNOWN_COMMAND Unknown+server+command" + plain.Word(word) + "\r\n")
}

// replyInvalid answers wrong arguments. Spaces in errors are sent as plus signs.
func (c *conn) replyInvalid(why string) {
	c.reply("ERR INVALID_ARGUMENTS " + strings.ReplaceAll(plain.Text(why), " ", "+") + "\r\n")
}

// replyShow answers show with any argument other than the two listings.
func (c *conn) replyShow(args []string) {
	if len(args) == 0 {
		c.replyUnknown("show")
		return
	}
	c.reply("ERR UNKNOWN_SHOW_ARGUMENTS\r\n")
}

func (c *conn) reply(answer string) {
	c.out.add(0, false, []byte(answer))
	c.scheduleFlush()
}

// listing sends a long answer in slices. next makes each slice under the lock, until it returns
// false. Between slices other connections can take the lock; other output for this connection
// waits for the end of the listing.
func (c *conn) listing(next func(b []byte) ([]byte, bool)) {
	s := c.server
	c.endTurn()
	c.out.pause()
	var b []byte
	for more := true; more; {
		s.Broker.Lock()
		b, more = next(b[:0])
		s.Broker.Unlock()
		if !more {
			b = append(b, ".\n"...)
		}
		runtime.Gosched() // let a goroutine that waited for the lock run, if there is no other processor
		c.out.addNow(b)
		c.out.flush()
		c.out.waitForRoom(c.server.MaxPending / 2) // the other half keeps producers of c from waiting for the listing
	}
	c.out.resume()
	c.beginTurn()
	c.scheduleFlush()
}

func (c *conn) listFunctions(priorities bool) {
	c.listing(func(b []byte) ([]byte, bool) {
		c.server.Broker.Functions(func(f FunctionStatus) {
			q, name := f.Queued, plain.Text(f.Name)
			if priorities {
				b = fmt.Appendf(b, "%s\t%d\t%d\t%d\t%d\n", name, q[High], q[Normal], q[Low], f.Workers)
			} else {
				b = fmt.Appendf(b, "%s\t%d\t%d\t%d\n", name, q[High]+q[Normal]+q[Low]+f.Running, f.Running, f.Workers)
			}
		})
		return b, false
	})
}

func (c *conn) listWorkers() {
	conns := c.server.connections()
	c.listing(func(b []byte) ([]byte, bool) {
		n := min(maxSliceLines, len(conns))
		for _, other := range conns[:n] {
			if other.session == nil { // in the TLS handshake
				continue
			}
			b = fmt.Appendf(b, "%d %s %s :", other.number, host(other.net), cmp.Or(plain.Word(other.name), "-"))
			other.session.Functions(func(name string) { b = append(append(b, ' '), plain.Word(name)...) })
			b = append(b, '\n')
		}
		conns = conns[n:]
		if lister, ok := c.server.Broker.(WorkerLister); ok && len(conns) == 0 {
			lister.OtherWorkers(func(name string, functions []string) {
				b = fmt.Appendf(b, "0 - %s :", cmp.Or(plain.Word(name), "-"))
				for _, f := range functions {
					b = append(append(b, ' '), plain.Word(f)...)
				}
				b = append(b, '\n')
			})
		}
		return b, len(conns) > 0
	})
}

func host(c net.Conn) string {
	addr := c.RemoteAddr().String()
	if h, _, err := net.SplitHostPort(addr); err == nil {
		return h
	}
	return addr
}

func (c *conn) listJobs(unique bool) {
	s, from, n := c.server, uint64(0), maxSliceLines
	c.listing(func(b []byte) ([]byte, bool) {
		start := time.Now()
		from = s.Broker.Jobs(from, n, func(j JobInfo) {
			if unique {
				if j.Unique != "" && !j.Ignored {
					b = append(append(b, plain.Text(j.Unique)...), '\n')
				}
				return
			}
			b = append(s.appendHandle(b, j.ID), '\t')
			b = append(strconv.AppendInt(b, int64(j.Retries), 10), '\t')
			b = append(appendBool(b, j.Ignored), '\t')
			b = append(appendBool(b, j.Stored), '\n')
		})
		if time.Since(start) > sliceTime {
			n = max(1, n/2)
		} else {
			n = min(maxSliceLines, 2*n)
		}
		return b, from != 0
	})
}

// maxDead is the most lines of show dead jobs.
const maxDead = 1000

// listDead lists the jobs that have failed for good: handle, attempts, function, unique key, error.
func (c *conn) listDead([]string) {
	c.listing(func(b []byte) ([]byte, bool) {
		c.server.Broker.DeadJobs(maxDead, func(j DeadJob) {
			b = c.server.appendHandle(b, j.ID)
			b = fmt.Appendf(b, "\t%d\t%s\t%s\t%s\n", j.Attempts, plain.Text(j.Function), plain.Text(j.Unique), plain.Text(j.Reason))
		})
		return b, false
	})
}

// listWaiting lists the functions with waiting jobs: name, number of jobs, why they wait.
func (c *conn) listWaiting([]string) {
	c.listing(func(b []byte) ([]byte, bool) {
		c.server.Broker.WaitingFunctions(func(name string, waiting int, _ bool, why string) {
			b = fmt.Appendf(b, "%s\t%d\t%s\n", plain.Text(name), waiting, plain.Text(why))
		})
		return b, false
	})
}

func (c *conn) cancelJob(args []string) {
	if err := c.server.Broker.Cancel(c.server.parseHandle([]byte(args[0]))); err != nil {
		c.reply("ERR UNKNOWN_JOB\r\n")
		return
	}
	c.reply("OK\r\n")
}

func (c *conn) createFunction(args []string) {
	if err := c.server.Broker.CreateFunction(plain.Bytes(args[0])); err != nil {
		c.replyInvalid(err.Error())
		return
	}
	c.reply("OK\r\n")
}

func (c *conn) dropFunction(args []string) {
	switch err := c.server.Broker.DropFunction(plain.Bytes(args[0])); {
	case errors.Is(err, ErrNoFunction):
		c.reply("ERR function not found\r\n")
	case err != nil:
		c.reply("ERR there are still connected workers or executing clients\r\n")
	default:
		c.reply("OK\r\n")
	}
}

// setMaxQueue takes one limit for all priorities, or up to three. A missing or negative limit
// means none. An unknown function is created, so that a limit can be set before the first job.
func (c *conn) setMaxQueue(args []string) {
	var limits [3]int
	for i := range limits {
		if n := len(args) - 1; i < n {
			limit, err := strconv.ParseInt(args[i+1], 10, 32)
			if err != nil {
				c.replyInvalid(fmt.Sprintf("maxqueue: limit %.20q is not a number up to %d", args[i+1], math.MaxInt32))
				return
			}
			limits[i] = int(max(0, limit))
		} else if n == 1 {
			limits[i] = limits[0]
		}
	}
	if err := c.server.Broker.SetLimits(plain.Bytes(args[0]), limits); err != nil {
		c.replyInvalid(err.Error())
		return
	}
	c.reply("OK\r\n")
}

func (c *conn) shutdown(args []string) {
	graceful := len(args) == 1 && strings.EqualFold(args[0], "graceful")
	switch {
	case c.server.Shutdown == nil:
		c.replyUnknown("shutdown")
	case len(args) > 0 && !graceful:
		c.replyInvalid("shutdown: the argument is not graceful")
	default:
		c.reply("OK\r\n")
		c.server.wg.Go(func() { c.server.Shutdown(graceful) })
	}
}
