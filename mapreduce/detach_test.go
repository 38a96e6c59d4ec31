package mapreduce

import (
	"strings"
	"testing"
)

// A user who interrupts a job is asked whether it continues only if it can. The answer names the
// way back to the job.
func TestAskDetach(t *testing.T) {
	for _, tt := range []struct {
		answer string
		lends  bool
		want   bool
		said   string
	}{
		{"y\n", false, true, "job j continues on c:1; layshaft job wait j waits for its end"},
		{"Yes\n", false, true, "layshaft job wait j"},
		{"\n", false, false, "[y/N]"},
		{"", false, false, "[y/N]"},
		{"y\n", true, false, "job j ends with this program, as it reads or writes files of this machine"},
	} {
		var said strings.Builder
		got := askDetach(&settings{Local: Local{Reporting: Reporting{Err: &said}}, cluster: &Cluster{Address: "c:1"}}, "j", strings.NewReader(tt.answer), tt.lends)
		if got != tt.want || !strings.Contains(said.String(), tt.said) || tt.lends && strings.Contains(said.String(), "?") {
			t.Errorf("%q, lends %v: %v, %s", tt.answer, tt.lends, got, &said)
		}
	}
}
