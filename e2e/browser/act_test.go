package browser

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// click opens an address, clicks the first button whose URL begins with /act/ and the name of the
// action, and confirms. It returns the question, and what the page says afterwards.
func (b *browser) click(t *testing.T, address, action string) (question, done string) {
	t.Helper()
	b.call(t, "Page.navigate", map[string]any{"url": address}, nil)
	evaluate[bool](t, b.tab, ready)
	question = evaluate[string](t, b.tab, fmt.Sprintf(`new Promise((done, fail) => {
		const until = Date.now() + 30000;
		const link = document.querySelector('a.act[href^="/act/%s?"]');
		if (!link) return fail(new Error('there is no button for %[1]s: ' + document.querySelector('main').innerText));
		link.focus();
		link.click();
		const look = () => {
			const q = document.querySelector('dialog[open] h2');
			if (q) done(q.textContent);
			else if (Date.now() > until) fail(new Error('no dialog: ' + document.querySelector('.toast').textContent));
			else setTimeout(look, 20);
		};
		look();
	})`, action))
	if b.axe != nil {
		b.checkAccess(t, "the dialog of "+action)
	}
	b.picture(t, "dialog-"+action)
	done = evaluate[string](t, b.tab, `new Promise((done, fail) => {
		const until = Date.now() + 30000;
		document.querySelector('dialog[open] form button').click();
		const look = () => {
			const alarm = document.querySelector('dialog .alarm'), toast = document.querySelector('.toast').textContent;
			if (toast) done(toast);
			else if (alarm || Date.now() > until) fail(new Error(alarm ? alarm.textContent : 'nothing happened'));
			else setTimeout(look, 20);
		};
		look();
	})`)
	return question, done
}

// waitFor waits until a page or an answer contains a text.
func (c *cluster) waitFor(t *testing.T, path, text string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !strings.Contains(c.get(path), text); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s does not contain %q\n%s", path, text, c.get(path))
		}
	}
}

// actOnAll clicks each button and looks for the effect with the command line.
func (b *browser) actOnAll(t *testing.T, c *cluster, root string) {
	t.Helper()
	cli := func(args ...string) string {
		t.Helper()
		return run(t, c.dir, c.layshaft, append(args, "-cluster", c.listen)...)
	}
	check := func(address, action, question, done string) {
		t.Helper()
		if q, d := b.click(t, root+address, action); q != question || d != done {
			t.Errorf("%s asks %q and says %q, want %q and %q", action, q, d, question, done)
		}
	}
	submit := func(args ...string) string {
		t.Helper()
		return strings.TrimSpace(cli(append([]string{"task", "submit", "-input", "x"}, args...)...))
	}
	has := func(text string, args ...string) {
		t.Helper()
		if out := cli(args...); !strings.Contains(out, text) {
			t.Errorf("layshaft %s: no %q in\n%s", strings.Join(args, " "), text, out)
		}
	}

	words := filepath.Join(c.dir, "words2.txt")
	waiting := exec.CommandContext(t.Context(), filepath.Join(c.dir, "wordcount"), "-cluster", c.listen, "-tags", "none-has-it", words)
	if err := waiting.Start(); err != nil {
		t.Fatal(err)
	}
	c.waitFor(t, "/api/status", `"outcome": "running"`)
	var jobs []struct{ Job, Outcome string }
	if err := json.Unmarshal([]byte(cli("job", "list", "-o", "json")), &jobs); err != nil || jobs[0].Outcome != "running" {
		t.Fatalf("%+v, %v", jobs, err)
	}
	id := jobs[0].Job
	check("/jobs/"+id, "cancel-job", "Cancel job "+id+"?", "Job "+id+" is cancelled.")
	if err := json.Unmarshal([]byte(cli("job", "list", "-o", "json")), &jobs); err != nil || jobs[0].Outcome != "cancelled" {
		t.Errorf("%+v, %v", jobs, err)
	}
	if err := waiting.Wait(); err == nil {
		t.Error("the program of the cancelled job reports no error")
	}

	check("/tasks?function=rev", "pause", "Pause function rev?", "Function rev is paused.")
	stuck := submit("rev")
	has("waiting", "task", "status", stuck)
	check("/tasks/"+stuck, "cancel-task", "Cancel task "+stuck+"?", "Task "+stuck+" is cancelled.")
	stuck = submit("rev")
	check("/tasks?function=rev", "resume", "Resume function rev?", "Function rev starts tasks again.")
	cli("task", "wait", stuck)
	later := submit("-after", "24h", "rev")
	check("/tasks/"+later, "run-task", "Run task "+later+" now?", "Task "+later+" is ready.")
	cli("task", "wait", later)

	var dead []string
	for range 4 {
		dead = append(dead, submit("-attempts", "1", "boom"))
	}
	c.waitFor(t, "/api/status", `"dead": 4`)
	c.waitFor(t, "/tasks?function=boom", "/act/drop-dead?")
	b.look(t, "dead", root+"/tasks?function=boom")
	b.look(t, "dead-task", root+"/tasks/"+dead[0])
	check("/tasks/"+dead[0], "drop-task", "Drop task "+dead[0]+"?", "Task "+dead[0]+" is deleted.")
	check("/tasks?function=boom", "pause", "Pause function boom?", "Function boom is paused.")
	check("/tasks/"+dead[1], "retry-task", "Retry task "+dead[1]+"?", "Task "+dead[1]+" is queued again.")
	has("waiting", "task", "status", dead[1])
	check("/tasks?function=boom", "retry-dead", "Retry all dead letters of boom?", "The dead letters of boom are queued again.")
	c.waitFor(t, "/api/status", `"dead": 0`)
	check("/tasks?function=boom", "resume", "Resume function boom?", "Function boom starts tasks again.")
	for _, id := range dead[1:] {
		c.waitFor(t, "/tasks/"+id, "/act/drop-task?")
	}
	c.waitFor(t, "/tasks?function=boom", "/act/drop-dead?") // a page may be a second old
	check("/tasks?function=boom", "drop-dead", "Drop all dead letters of boom?", "The dead letters of boom are deleted.")
	c.waitFor(t, "/api/status", `"dead": 0`)

	var workers []struct{ Worker, State string }
	if err := json.Unmarshal([]byte(cli("worker", "list", "-o", "json")), &workers); err != nil || len(workers) != 2 {
		t.Fatalf("%+v, %v", workers, err)
	}
	check("/workers", "drain", "Drain worker "+workers[0].Worker+"?", "Worker "+workers[0].Worker+" drains.")
	log := filepath.Join(c.dir, "dev.log")
	for deadline := time.Now().Add(time.Minute); !strings.Contains(read(t, log), "worker drained"); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the worker does not drain\n%s", read(t, log))
		}
	}
	if text := read(t, log); !strings.Contains(text, "action=drain") || !strings.Contains(text, "action=cancel ") && !strings.Contains(text, "action=cancel\n") {
		t.Errorf("the audit log lacks actions\n%s", text)
	}
}
