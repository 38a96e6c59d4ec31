//go:build unix

package tasks

import (
	"context"
	"fmt"
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

// Schedules fire once each while their coordinator is killed and restarted between them.
func TestSchedule(t *testing.T) {
	if testing.Short() {
		t.Skip("waits up to a minute for a time")
	}
	t.Parallel()
	c := newCluster(t)
	fireAmidChanges(t, c, func() {
		c.coordinator.Kill()
		c.start(t)
	})
}

// Schedules fire once each while the leader of three coordinators is killed and restarted.
func TestScheduleLeaders(t *testing.T) {
	if testing.Short() {
		t.Skip("waits up to a minute for a time")
	}
	t.Parallel()
	g := newGroup(t)
	fireAmidChanges(t, g.cluster, func() {
		i := g.leader(t)
		g.processes[i].Kill()
		g.startMember(t, i)
	})
}

// fireAmidChanges checks that each of eight schedules runs its program once, for the same minute,
// although the coordinator changes before, between and after them. Their jitter spreads them over
// some seconds. The second time of a schedule is an hour later; the package schedule simulates years.
func fireAmidChanges(t *testing.T, c *cluster, change func()) {
	const schedules = 8
	dir := t.TempDir()
	script := filepath.Join(dir, "note.sh")
	if err := os.WriteFile(script, []byte("#!/bin/sh\necho \"$LAYSHAFT_SCHEDULE $LAYSHAFT_SCHEDULE_TIME $1\" >> "+dir+"/runs\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	launch(t, "layshaft", "schedule", "work", "-program", "note="+script, "-cluster", c.address)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	due := time.Now().Add(3 * time.Second).Truncate(time.Minute).Add(time.Minute).UTC() // 3 s are enough to define all
	var want []string
	for i := range schedules {
		name := fmt.Sprintf("note-%d", i)
		s, err := c.AddSchedule(ctx, tasks.Schedule{Name: name, Cron: fmt.Sprintf("%d * * * *", due.Minute()), Jitter: 12 * time.Second, CatchUp: tasks.CatchUpAll, Overlap: tasks.OverlapQueue, Program: []string{"note", "x"}})
		if err != nil || !s.Next.Equal(due) {
			t.Fatalf("%s is due at %v, want %v: %v", name, s.Next, due, err)
		}
		want = append(want, name+" "+due.Format(time.RFC3339)+" x")
	}
	until := func(done int) []tasks.ScheduleStatus { // tasks of so many schedules have ended well
		t.Helper()
		for {
			all, err := c.Schedules(ctx)
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			for _, s := range all {
				if len(s.History) > 0 && s.History[0].Outcome == "done" {
					n++
				}
			}
			if n >= done {
				return all
			}
			select {
			case <-ctx.Done():
				t.Fatalf("%d tasks have not ended: %+v", done, all)
			case <-time.After(100 * time.Millisecond):
			}
		}
	}
	change()
	until(1)
	change() // soon after a fire
	until(schedules / 2)
	change()
	before := until(schedules)
	change()
	after, err := c.Schedules(ctx)
	if err != nil || len(after) != schedules {
		t.Fatalf("after a restart: %+v, %v", after, err)
	}
	for i, s := range after {
		if s.Counts.Due != 1 || s.Counts.Fired != 1 || len(s.History) != 1 || s.History[0].Task != before[i].History[0].Task || !s.Next.Equal(due.Add(time.Hour)) {
			t.Errorf("after a restart: %+v, before: %+v", s, before[i])
		}
	}
	out, err := os.ReadFile(filepath.Join(dir, "runs"))
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
	if slices.Sort(got); !slices.Equal(got, want) {
		t.Errorf("the programs ran for\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
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
