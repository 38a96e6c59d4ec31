//go:build unix

package tasks

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/layshaft/layshaft/tasks"
)

// A schedule fires each minute while its coordinator is killed and restarted.
func TestSchedule(t *testing.T) {
	if testing.Short() {
		t.Skip("takes two minutes")
	}
	t.Parallel()
	c := newCluster(t)
	fireTwice(t, c, func() {
		c.coordinator.Kill()
		c.start(t)
	})
}

// A schedule fires each minute while the leader of three coordinators is killed and restarted.
func TestScheduleLeaders(t *testing.T) {
	if testing.Short() {
		t.Skip("takes two minutes")
	}
	t.Parallel()
	g := newGroup(t)
	fireTwice(t, g.cluster, func() {
		i := g.leader(t)
		g.processes[i].Kill()
		g.startMember(t, i)
	})
}

// fireTwice checks that the program of a schedule runs once for each of two times, although the
// coordinator changes before, between and after them.
func fireTwice(t *testing.T, c *cluster, change func()) {
	dir := t.TempDir()
	script := filepath.Join(dir, "note.sh")
	if err := os.WriteFile(script, []byte("#!/bin/sh\necho \"$LAYSHAFT_SCHEDULE_TIME $1\" >> "+dir+"/runs\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	launch(t, "layshaft", "schedule", "work", "-program", "note="+script, "-cluster", c.address)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	begun := time.Now()
	if _, err := c.AddSchedule(ctx, tasks.Schedule{Name: "note", Cron: "* * * * *", CatchUp: tasks.CatchUpAll, Overlap: tasks.OverlapQueue, Program: []string{"note", "x"}}); err != nil {
		t.Fatal(err)
	}
	due := begun.Truncate(time.Minute).Add(time.Minute)
	until := func(done int) tasks.ScheduleStatus { // done tasks of the schedule have ended well
		t.Helper()
		for {
			s, err := c.Schedule(ctx, "note")
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			for _, h := range s.History {
				if h.Outcome == "done" {
					n++
				}
			}
			if n >= done {
				return s
			}
			select {
			case <-ctx.Done():
				t.Fatalf("%d tasks have not ended: %+v", done, s)
			case <-time.After(100 * time.Millisecond):
			}
		}
	}
	change()
	until(1)
	change() // soon after a fire
	s := until(2)
	change()
	if again, err := c.Schedule(ctx, "note"); err != nil || len(again.History) != len(s.History) || again.Counts.Fired != 2 {
		t.Errorf("after a restart: %+v, %v", again, err)
	}
	if err := c.RemoveSchedule(ctx, "note"); err != nil {
		t.Fatal(err)
	}
	out, err := os.ReadFile(filepath.Join(dir, "runs"))
	if err != nil {
		t.Fatal(err)
	}
	want := due.UTC().Format(time.RFC3339) + " x\n" + due.UTC().Add(time.Minute).Format(time.RFC3339) + " x\n"
	if string(out) != want {
		t.Errorf("the program ran for\n%swant\n%s", out, want)
	}
}

// The commands of docs/schedules.md work, and print lines that begin as on the page.
func TestSchedulesPage(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/schedules.md")
	if err != nil {
		t.Fatal(err)
	}
	c, dir, commands := newCluster(t), t.TempDir(), 0
	if err := os.WriteFile(filepath.Join(dir, "hello.sh"), []byte("#!/bin/sh\necho hello $2\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, block := range console.FindAllStringSubmatch(string(page), -1) {
		for _, step := range strings.Split(block[1], "$ ")[1:] {
			command, want, _ := strings.Cut(step, "\n")
			commands++
			if background, ok := strings.CutSuffix(command, " &"); ok {
				args := strings.Fields(strings.ReplaceAll(background, "./hello.sh", filepath.Join(dir, "hello.sh")))
				launch(t, "layshaft", append(args[1:], "-cluster", c.address)...)
				continue
			}
			cmd := exec.CommandContext(t.Context(), "sh", "-c", command)
			cmd.Env = append(slices.Clip(os.Environ()), "PATH="+binDir+string(os.PathListSeparator)+os.Getenv("PATH"), "LAYSHAFT_CLUSTER="+c.address)
			var failed strings.Builder
			cmd.Stderr = &failed
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("%s: %v\n%s%s", command, err, out, failed.String())
			}
			if shape(string(out)) != shape(want) {
				t.Errorf("%s printed\n%s, the page has\n%s", command, out, want)
			}
		}
	}
	if commands < 10 {
		t.Errorf("the page has %d commands, want 10 or more", commands)
	}
	s, err := c.Schedule(within(t), "greet")
	if err != nil {
		t.Fatal(err)
	}
	id, err := tasks.ParseID(s.History[0].Task)
	if err != nil {
		t.Fatal(err)
	}
	if out, err := tasks.Attach[string](within(t), c.Client, id); err != nil || out != "hello world\n" {
		t.Errorf("the program of the page: %q, %v", out, err)
	}
}

// shape returns a text without what differs between two runs: times, IDs, and the spaces between
// columns.
func shape(text string) string {
	text = shapeTime.ReplaceAllString(text, "TIME")
	var lines []string
	for line := range strings.Lines(text) {
		lines = append(lines, strings.Join(strings.Fields(line), " "))
	}
	return strings.Join(lines, "\n")
}

var shapeTime = regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [A-Z]+|\b[0-9a-f]{7,}\b`)
