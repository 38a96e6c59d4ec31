package prometheus

import (
	"bufio"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
)

// sample is one line of a scrape.
type sample struct {
	labels labels.Labels // without the name
	value  float64
}

// scrape starts a coordinator and a worker, queues a task, and returns what Prometheus would store
// of them, by name.
func scrape(t *testing.T) map[string][]sample {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "layshaft")
	build := exec.Command("go", "build", "-o", bin, "./cmd/layshaft")
	build.Dir = "../.."
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	local := []string{"-listen", "127.0.0.1:0", "-http", "127.0.0.1:0", "-gossip", "127.0.0.1:0", "-log-format", "json", "-reserve", "1MiB"}
	coordinator := start(t, bin, append([]string{"coordinator", "-data", t.TempDir()}, local...))
	worker := start(t, bin, append([]string{"worker", "-data", t.TempDir(), "-join", coordinator.Gossip}, local...))
	if out, err := exec.Command(bin, "task", "submit", "-cluster", coordinator.Address, "-input", "x", "resize").CombinedOutput(); err != nil {
		t.Fatalf("layshaft task submit: %v\n%s", err, out)
	}
	all := map[string][]sample{}
	for job, at := range map[string]string{"coordinator": coordinator.HTTP, "worker": worker.HTTP} {
		resp, err := http.Get("http://" + at + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		parser := expfmt.NewTextParser(model.UTF8Validation)
		families, err := parser.TextToMetricFamilies(resp.Body)
		resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			lines, err := expfmt.ExtractSamples(&expfmt.DecodeOptions{Timestamp: model.Now()}, f)
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range lines {
				name, b := string(s.Metric[model.MetricNameLabel]), labels.NewBuilder(labels.EmptyLabels())
				if !strings.HasPrefix(name, "layshaft_") && !strings.HasPrefix(name, "process_") {
					continue
				}
				for k, v := range s.Metric {
					if k != model.MetricNameLabel {
						b.Set(string(k), string(v))
					}
				}
				b.Set("job", "layshaft").Set("instance", job)
				all[name] = append(all[name], sample{b.Labels(), float64(s.Value)})
			}
		}
	}
	return all
}

// start starts a process, which ends with the test, and returns its addresses.
func start(t *testing.T, bin string, args []string) (at struct{ Address, HTTP, Gossip string }) {
	t.Helper()
	cmd := exec.Command(bin, args...)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	drained := make(chan struct{})
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		<-drained
		_ = cmd.Wait()
	})
	serving := make(chan string, 1)
	go func() {
		defer close(drained)
		for s := bufio.NewScanner(stderr); s.Scan(); {
			if strings.Contains(s.Text(), `"serving"`) {
				select {
				case serving <- s.Text():
				default:
				}
			}
		}
	}()
	select {
	case line := <-serving:
		if err := json.Unmarshal([]byte(line), &at); err != nil {
			t.Fatal(err)
		}
	case <-drained:
		t.Fatalf("%s ended before it served", args[0])
	case <-time.After(time.Minute):
		t.Fatalf("%s does not serve", args[0])
	}
	return at
}
