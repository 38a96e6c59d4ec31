//go:build unix

package awake

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// stoppedEnv makes the test binary a process with a limit of stoppedLimit, which ends before it if
// its standard input ends in time.
const (
	stoppedEnv   = "AWAKE_TEST_STOPPED"
	stoppedLimit = 4 * time.Second
)

func TestMain(m *testing.M) {
	if os.Getenv(stoppedEnv) != "" {
		ctx, cancel := WithTimeout(context.Background(), stoppedLimit)
		defer cancel()
		fmt.Println("on")
		input := make(chan struct{})
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin)
			close(input)
		}()
		select {
		case <-ctx.Done():
			fmt.Println("too late")
		case <-input:
			fmt.Println("in time")
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// A process that was stopped for longer than its limit still has time.
func TestStoppedProcess(t *testing.T) {
	if testing.Short() {
		t.Skip("stops a process for five seconds")
	}
	t.Parallel()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), stoppedEnv+"=1")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill() }()
	lines := bufio.NewReader(out)
	if line, err := lines.ReadString('\n'); line != "on\n" {
		t.Fatalf("%q, %v", line, err)
	}
	if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	<-time.After(stoppedLimit + time.Second)
	if err := cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	in.Close()
	if line, err := lines.ReadString('\n'); strings.TrimSpace(line) != "in time" {
		t.Errorf("%q, %v", line, err)
	}
	_ = cmd.Wait()
}
