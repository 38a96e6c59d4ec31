//go:build unix

package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// coordinator is a process.
type coordinator struct {
	program, address string
	args             []string
	dir              string
	cmd              *exec.Cmd
}

// group are the coordinators of a cluster.
type group struct {
	b       *bench
	members []*coordinator
}

// start starts a single coordinator, or a group.
func (b *bench) start(program string, n int) (*group, error) {
	g := &group{b: b}
	var peers []string
	for range n {
		address, err := freeAddress()
		if err != nil {
			return nil, err
		}
		peers = append(peers, address)
	}
	for _, address := range peers {
		if _, err := g.add(program, address, peers); err != nil {
			g.stop()
			return nil, err
		}
	}
	if _, err := g.leader(); err != nil {
		g.stop()
		return nil, err
	}
	return g, nil
}

// add starts one more process.
func (g *group) add(program, address string, peers []string) (*coordinator, error) {
	gossip, err := freeAddress()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(g.b.dir, "data-")
	if err != nil {
		return nil, err
	}
	c := &coordinator{program: program, address: address, dir: filepath.Join(dir, "data")}
	c.args = []string{"coordinator", "-data", c.dir, "-listen", address, "-http", "none", "-gossip", gossip}
	if len(peers) > 1 {
		c.args = append(c.args, "-peers", strings.Join(peers, ","))
	}
	g.members = append(g.members, c)
	return c, c.start()
}

func (c *coordinator) start() error {
	log, err := os.OpenFile(c.dir+".log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	c.cmd = exec.Command(c.program, c.args...)
	c.cmd.Stdout, c.cmd.Stderr = log, log
	return c.cmd.Start()
}

// end stops a process as an operator does.
func (c *coordinator) end() error {
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return c.cmd.Wait()
}

// stop kills all processes and removes their files.
func (g *group) stop() {
	for _, c := range g.members {
		_ = c.cmd.Process.Kill()
		_ = c.cmd.Wait()
		_ = os.RemoveAll(filepath.Dir(c.dir))
	}
}

// addresses returns the addresses of all members.
func (g *group) addresses() string {
	var out []string
	for _, c := range g.members {
		out = append(out, c.address)
	}
	return strings.Join(out, ",")
}

// members runs "layshaft coordinator members".
func (g *group) command(args ...string) ([]byte, error) {
	args = append([]string{"coordinator", "members"}, args...)
	cmd := exec.Command(g.members[0].program, append(args, "-cluster", g.addresses())...)
	var complaint strings.Builder
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("layshaft %s: %w: %s", strings.Join(args, " "), err, complaint.String())
	}
	return out, nil
}

// leader waits for a leader and returns it. It also waits until all members have answered.
func (g *group) leader() (*coordinator, error) {
	var err error
	var out []byte
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if len(g.members) == 1 {
			var c net.Conn
			if c, err = net.Dial("tcp", g.members[0].address); err == nil {
				return g.members[0], c.Close()
			}
			continue
		}
		if out, err = g.command("list", "-o", "json"); err != nil {
			continue
		}
		var all []struct {
			Address, State string
			Leader         bool
			Behind         uint64
		}
		if err = json.Unmarshal(out, &all); err != nil {
			return nil, err
		}
		var leader *coordinator
		well := 0
		for _, m := range all {
			for _, c := range g.members {
				if c.address == m.Address {
					if m.State != "unreachable" && m.Behind < 1000 {
						well++
					}
					if m.Leader {
						leader = c
					}
				}
			}
		}
		if leader != nil && well == len(all) {
			return leader, nil
		}
	}
	return nil, fmt.Errorf("no leader of a complete group within a minute: %s%v", out, err)
}

// followers returns all members but one.
func (g *group) followers(leader *coordinator) (out []*coordinator) {
	for _, c := range g.members {
		if c != leader {
			out = append(out, c)
		}
	}
	return out
}

// cpu returns the seconds of CPU that a process has used, or zero where there is no /proc.
func (c *coordinator) cpu() float64 {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	user, _ := strconv.ParseFloat(fields[11], 64)
	system, _ := strconv.ParseFloat(fields[12], 64)
	return (user + system) / 100
}

// memory returns the bytes of anonymous memory of a process, or zero where there is no /proc.
func (c *coordinator) memory() float64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "RssAnon:"); ok {
			kib, _ := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			return kib * 1024
		}
	}
	return 0
}

// disk returns the bytes that a directory takes on the disk.
func (c *coordinator) disk() (n float64) {
	_ = filepath.WalkDir(c.dir, func(_ string, d os.DirEntry, err error) error {
		if err == nil {
			if info, err := d.Info(); err == nil {
				n += float64(info.Sys().(*syscall.Stat_t).Blocks) * 512
			}
		}
		return nil
	})
	return n
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}
