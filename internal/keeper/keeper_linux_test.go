package keeper

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"testing"
)

// ownerEnv makes the test binary a process that starts a command and waits.
const ownerEnv = "KEEPER_TEST_OWNER"

func TestMain(m *testing.M) {
	Main()
	if script := os.Getenv(ownerEnv); script != "" {
		if err := Start(); err != nil {
			panic(err)
		}
		cmd := exec.Command("sh", "-c", script)
		cmd.Env = append(os.Environ(), Env()...)
		cmd.Stdout = os.Stdout
		_ = cmd.Run()
		select {}
	}
	os.Exit(m.Run())
}

// Children, their children and daemons end with a process that is killed: whoever holds its standard output.
func TestNothingOutlivesItsProcess(t *testing.T) {
	for name, script := range map[string]string{
		"child":         `echo on; sleep 1000`,
		"grandchild":    `sh -c 'sleep 1000 & wait' & echo on; wait`,
		"deaf":          `trap "" TERM HUP INT; echo on; sleep 1000; sleep 1000`,
		"daemon":        `setsid sh -c '(setsid sleep 1000 &)'; echo on; sleep 1000`,
		"left behind":   `setsid sleep 1000 & echo on`,
		"keeps forking": `for i in 1 2 3 4 5; do (while :; do sleep 0.01; done) & done; echo on; wait`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			owner := exec.Command("/proc/self/exe")
			owner.Env = append(os.Environ(), ownerEnv+"="+script)
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			owner.Stdout = w
			if err := owner.Start(); err != nil {
				t.Fatal(err)
			}
			w.Close()
			out := bufio.NewReader(r)
			if line, err := out.ReadString('\n'); line != "on\n" {
				t.Fatalf("%q, %v", line, err)
			}
			_ = owner.Process.Kill()
			_ = owner.Wait()
			if _, err := io.Copy(io.Discard, out); err != nil { // ends with the last holder
				t.Error(err)
			}
		})
	}
}
