package gearman

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"
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
	args  int    // minimum number of arguments
	run   func(c *conn, args []string)
}

// textCommands is searched in order, so a longer command stands before its own prefix.
var textCommands = []textCommand{
	{"version", 0, func(c *conn, _ []string) { c.reply("OK " + c.server.Version + "\n") }},
	{"getpid", 0, func(c *conn, _ []string) { c.reply("OK " + strconv.Itoa(os.Getpid()) + "\n") }},
	{"verbose", 0, func(c *conn, _ []string) { c.reply("OK ERROR\n") }},
	{"status", 0, func(c *conn, _ []string) { c.listFunctions(false) }},
	{"prioritystatus", 0, func(c *conn, _ []string) { c.listFunctions(true) }},
	{"workers", 0, func(c *conn, _ []string) { c.listWorkers() }},
	{"show jobs", 0, func(c *conn, _ []string) { c.listJobs(false) }},
	{"show unique jobs", 0, func(c *conn, _ []string) { c.listJobs(true) }},
	{"show", 0, (*conn).replyShow},
	{"cancel job", 1, (*conn).cancelJob},
	{"create function", 1, func(c *conn, a []string) {
		c.server.Broker.CreateFunction(a[0])
		c.reply("OK\r\n")
	}},
	{"drop function", 1, (*conn).dropFunction},
	{"maxqueue", 1, (*conn).setMaxQueue},
	{"shutdown", 0, (*conn).shutdown},
	{"cancel", math.MaxInt, nil},
	{"create", math.MaxInt, nil},
	{"drop", math.MaxInt, nil},
}

// command answers one line of the text protocol. The broker's lock is held; listings release it
// for a while.
func (c *conn) command(line []byte) {
	words := strings.Fields(string(bytes.ToValidUTF8(line, []byte("?"))))
	for _, t := range textCommands {
		n := strings.Count(t.words, " ") + 1
		if len(words) < n || !strings.EqualFold(strings.Join(words[:n], " "), t.words) {
			continue
		}
		if len(words)-n < t.args {
			c.reply("ERR INVALID_ARGUMENTS An+incomplete+set+of+arguments+was+sent+to+this+command+" + words[0] + "\r\n")
			return
		}
		t.run(c, words[n:])
		return
	}
	c.replyUnknown(strings.Join(words[:min(len(words), 1)], ""))
}

func (c *conn) replyUnknown(word string) {
	c.reply("ERR UNKNOWN_COMMAND Unknown+server+command" + word + "\r\n")
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
			q := f.Queued
			if priorities {
				b = fmt.Appendf(b, "%s\t%d\t%d\t%d\t%d\n", f.Name, q[High], q[Normal], q[Low], f.Workers)
			} else {
				b = fmt.Appendf(b, "%s\t%d\t%d\t%d\n", f.Name, q[High]+q[Normal]+q[Low]+f.Running, f.Running, f.Workers)
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
			b = fmt.Appendf(b, "%d %s %s :", other.number, host(other.net), other.name)
			other.session.Functions(func(name string) { b = append(append(b, ' '), name...) })
			b = append(b, '\n')
		}
		conns = conns[n:]
		if lister, ok := c.server.Broker.(WorkerLister); ok && len(conns) == 0 {
			lister.OtherWorkers(func(name string, functions []string) {
				b = fmt.Appendf(b, "0 - %s : %s\n", strings.Map(printable, name), strings.Join(functions, " "))
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
				if j.Unique != "" {
					b = append(append(b, j.Unique...), '\n')
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

func (c *conn) cancelJob(args []string) {
	if err := c.server.Broker.Cancel(c.server.parseHandle([]byte(args[0]))); err != nil {
		c.reply("ERR UNKNOWN_JOB\r\n")
		return
	}
	c.reply("OK\r\n")
}

func (c *conn) dropFunction(args []string) {
	switch err := c.server.Broker.DropFunction(args[0]); {
	case errors.Is(err, ErrNoFunction):
		c.reply("ERR function not found\r\n")
	case err != nil:
		c.reply("ERR there are still connected workers or executing clients\r\n")
	default:
		c.reply("OK\r\n")
	}
}

// setMaxQueue takes one limit for all priorities, or up to three. A missing or negative limit
// means none.
func (c *conn) setMaxQueue(args []string) {
	var limits [3]int
	for i := range limits {
		if n := len(args) - 1; i < n {
			limits[i], _ = strconv.Atoi(args[i+1])
			limits[i] = max(0, limits[i])
		} else if n == 1 {
			limits[i] = limits[0]
		}
	}
	c.server.Broker.SetLimits(args[0], limits)
	c.reply("OK\r\n")
}

func (c *conn) shutdown(args []string) {
	graceful := len(args) == 1 && strings.EqualFold(args[0], "graceful")
	switch {
	case c.server.Shutdown == nil:
		c.replyUnknown("shutdown")
	case len(args) > 0 && !graceful:
		c.reply("ERR INVALID_ARGUMENTS An+incomplete+set+of+arguments+was+sent+to+this+command+shutdown\r\n")
	default:
		c.reply("OK\r\n")
		c.server.wg.Go(func() { c.server.Shutdown(graceful) })
	}
}
