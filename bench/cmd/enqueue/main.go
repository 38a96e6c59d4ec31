// Command enqueue measures how fast callers enqueue durable tasks one by one, beside asynq on Redis
// with appendfsync always. Both write to the same disk and confirm a task once it is there.
//
//	enqueue [-rounds N] [-callers LIST]
//
// It needs redis-server in the path. It starts a server of each kind, and then a client process of
// each in turn, round by round. It prints the medians with the least and the most in brackets, and
// the median of the ratios of each round.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/layshaft/layshaft/tasks"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("enqueue: ")
	client := flag.String("client", "", "be the client of the coordinator at `HOST:PORT`, with one number of callers")
	rounds := flag.Int("rounds", 9, "`N` rounds")
	callers := flag.String("callers", "1,8,64", "`LIST` of numbers of callers")
	duration := flag.Duration("for", 2*time.Second, "`DURATION` of each client")
	size := flag.Int("size", 128, "`BYTES` of each input")
	dir := flag.String("dir", "", "`DIR` for data (default the system's temporary directory)")
	layshaft := flag.String("layshaft", "", "`PROGRAM` to measure instead of a new build")
	flag.Parse()
	var err error
	if *client != "" {
		var n int
		if n, err = strconv.Atoi(*callers); err == nil {
			err = enqueue(*client, n, *duration, *size)
		}
	} else {
		err = compare(*dir, *layshaft, *rounds, strings.Split(*callers, ","), *duration, *size)
	}
	if err != nil {
		log.Fatal(err)
	}
}

// enqueue is the client of Layshaft. It prints what bench/asynq prints.
func enqueue(address string, callers int, duration time.Duration, size int) error {
	c, err := tasks.Dial(tasks.Cluster{Address: address})
	if err != nil {
		return err
	}
	defer c.Close()
	input := make([]byte, size)
	one := func() error {
		_, err := tasks.Enqueue(context.Background(), c, "echo", input)
		return err
	}
	for range 100 {
		if err := one(); err != nil {
			return err
		}
	}
	took := make([][]time.Duration, callers)
	failed := make([]error, callers)
	var family sync.WaitGroup
	begin := time.Now()
	for i := range callers {
		family.Go(func() {
			for failed[i] == nil && time.Since(begin) < duration {
				start := time.Now()
				failed[i] = one()
				took[i] = append(took[i], time.Since(start))
			}
		})
	}
	family.Wait()
	elapsed := time.Since(begin)
	for _, err := range failed {
		if err != nil {
			return err
		}
	}
	all := slices.Sorted(slices.Values(slices.Concat(took...)))
	fmt.Println(float64(len(all))/elapsed.Seconds(), all[len(all)/2].Microseconds(), all[len(all)*99/100].Microseconds())
	return nil
}

// server is a running server, and the command of its client.
type server struct {
	cmd    *exec.Cmd
	client func(callers string) []string
}

// compare starts the servers and measures their clients in turn.
func compare(dir, layshaft string, rounds int, callers []string, duration time.Duration, size int) (err error) {
	if dir, err = os.MkdirTemp(dir, "enqueue-"); err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	peer, self := filepath.Join(dir, "asynq"), filepath.Join(dir, "enqueue")
	builds := [][]string{{"-C", "bench/asynq", "-o", peer, "."}, {"-o", self, "./bench/cmd/enqueue"}}
	if layshaft == "" {
		layshaft = filepath.Join(dir, "layshaft")
		builds = append(builds, []string{"-o", layshaft, "./cmd/layshaft"})
	}
	for _, build := range builds {
		at := slices.Index(build, "-o")
		args := slices.Concat(build[:at], []string{"build"}, build[at:])
		if at > 0 { // -C goes behind the word build
			args = slices.Concat([]string{"build"}, build)
		}
		if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
			return fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, out)
		}
	}
	var ports [4]string
	for i := range ports {
		if ports[i], err = freePort(); err != nil {
			return err
		}
	}
	local := func(i int) string { return "127.0.0.1:" + ports[i] }
	redis, data := filepath.Join(dir, "redis"), filepath.Join(dir, "data")
	if err := os.Mkdir(redis, 0o700); err != nil {
		return err
	}
	servers := []server{
		{exec.Command(layshaft, "coordinator", "-data", data, "-listen", local(0), "-http", "none", "-gossip", local(1)), func(callers string) []string {
			return []string{self, "-client", local(0), "-callers", callers, "-for", duration.String(), "-size", strconv.Itoa(size)}
		}},
		{exec.Command("redis-server", "--port", ports[2], "--bind", "127.0.0.1", "--dir", redis, "--appendonly", "yes", "--appendfsync", "always", "--save", ""), func(callers string) []string {
			return []string{peer, local(2), callers, duration.String(), strconv.Itoa(size)}
		}},
	}
	for i, s := range servers {
		if err := s.cmd.Start(); err != nil {
			return err
		}
		defer func() {
			_ = s.cmd.Process.Kill()
			_ = s.cmd.Wait()
		}()
		if err := awaitPort(local(2 * i)); err != nil {
			return err
		}
	}
	fmt.Println("| callers | | calls/s | p50, µs | p99, µs | server CPU, µs per call | client CPU, µs per call | rate / asynq |")
	fmt.Println("|---:|---|---:|---:|---:|---:|---:|---:|")
	for _, n := range callers {
		var columns [2][5][]float64
		var ratios []float64
		for range rounds {
			for i, s := range servers {
				figures, err := s.measure(n, duration)
				if err != nil {
					return err
				}
				for k, v := range figures {
					columns[i][k] = append(columns[i][k], v)
				}
			}
			last := len(columns[0][0]) - 1
			ratios = append(ratios, columns[0][0][last]/columns[1][0][last])
		}
		for i, name := range []string{"Layshaft", "asynq"} {
			fmt.Printf("| %s | %s |", n, name)
			for _, c := range columns[i] {
				fmt.Printf(" %s |", spread(c, "%.0f"))
			}
			if i == 0 {
				fmt.Printf(" %s |\n", spread(ratios, "%.2f"))
			} else {
				fmt.Println(" |")
			}
		}
	}
	return nil
}

// measure runs the client once.
func (s *server) measure(callers string, duration time.Duration) (figures [5]float64, err error) {
	args := s.client(callers)
	before := cpu(s.cmd.Process.Pid)
	client := exec.Command(args[0], args[1:]...)
	client.Stderr = os.Stderr
	out, err := client.Output()
	if err != nil {
		return figures, fmt.Errorf("%s: %w", strings.Join(args, " "), err)
	}
	if _, err := fmt.Sscan(string(out), &figures[0], &figures[1], &figures[2]); err != nil {
		return figures, fmt.Errorf("%s printed %q: %w", args[0], out, err)
	}
	calls := figures[0] * duration.Seconds()
	figures[3] = (cpu(s.cmd.Process.Pid) - before) / calls * 1e6
	used := client.ProcessState.SysUsage().(*syscall.Rusage)
	figures[4] = float64(used.Utime.Nano()+used.Stime.Nano()) / 1e3 / calls
	return figures, nil
}

// cpu returns the seconds of CPU that a process has used, or zero where there is no /proc.
func cpu(pid int) float64 {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	user, _ := strconv.ParseFloat(fields[11], 64)
	system, _ := strconv.ParseFloat(fields[12], 64)
	return (user + system) / 100
}

// spread formats the median, the least and the most of some figures.
func spread(all []float64, format string) string {
	all = slices.Sorted(slices.Values(all))
	return fmt.Sprintf(format+" ("+format+"–"+format+")", all[len(all)/2], all[0], all[len(all)-1])
}

func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, err
}

func awaitPort(address string) error {
	for range 100 {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			return conn.Close()
		}
		time.Sleep(50 * time.Millisecond)
	}
	return fmt.Errorf("nothing answers at %s", address)
}
