package dashboard

import (
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/layshaft/layshaft/internal/page"
)

const (
	// manyFailures is the number of failed attempts from which a running job needs a look.
	manyFailures = 3
	// lately is how long a failed job stays on the overview.
	lately = 24 * time.Hour
	// maxFailed is the limit of failed jobs on the overview.
	maxFailed = 3
)

// failing lists the running jobs whose attempts fail again and again. Such a job may wait for a
// slot between two attempts, so its reason alone does not show the failures.
func failing(jobs []jobRow) (out []attention) {
	for i := range jobs {
		j, last := &jobs[i], ""
		for k := range j.Stages {
			if text := j.Stages[k].LastFailure; text != "" {
				last = text
			}
		}
		if j.Trouble >= manyFailures && last != "" && !j.Outcome.IsEnd() {
			out = append(out, attention{Text: fmt.Sprintf("job %s: %s attempts failed, the last: %.200s", j.ID, page.Num(j.Trouble), last), URL: jobURL(j)})
		}
	}
	return out
}

// failedLately lists the jobs that failed in the last day, the latest first.
func failedLately(jobs []jobRow, now time.Time) (out []attention) {
	for i := range jobs {
		j := &jobs[i]
		if j.Failure == nil || j.Ended.IsZero() || now.Sub(j.Ended) > lately {
			continue
		}
		if len(out) == maxFailed {
			return append(out, attention{Text: "more jobs failed in the last day", URL: "/jobs?state=failed"})
		}
		line, _, _ := strings.Cut(j.Failure.Error(), "\n")
		out = append(out, attention{Text: fmt.Sprintf("job %s failed %s ago: %.200s", j.ID, page.Dur(now.Sub(j.Ended)), line), URL: jobURL(j),
			Command: "layshaft job report " + page.ShellQuote(string(j.ID))})
	}
	return out
}

func jobURL(j *jobRow) string { return jobPath(string(j.ID)) }

func jobPath(id string) string { return "/jobs/" + url.PathEscape(id) }
