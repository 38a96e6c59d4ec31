package mapreduce

import (
	"flag"
	"io"
	"slices"
	"strings"
	"testing"
)

// Environment variables of flags without a meaning in this run are ignored. The same flags on the
// command line are an error.
func TestFlagsFromTheEnvironment(t *testing.T) {
	for name, value := range map[string]string{"LAYSHAFT_WORKERS": "3", "LAYSHAFT_MEMORY": "256M", "LAYSHAFT_SLOTS": "many", "LAYSHAFT_TAGS": " gpu , x,", "LAYSHAFT_TLS_CA": "ca.pem"} {
		t.Setenv(name, value)
	}
	parse := func(args ...string) (settings, error) {
		fs := flag.NewFlagSet("p", flag.ContinueOnError)
		fs.SetOutput(io.Discard)
		target := Flags(fs)
		if err := fs.Parse(args); err != nil {
			t.Fatal(err)
		}
		return target.settings("p")
	}
	on, err := parse("-cluster", "127.0.0.1:1")
	if err != nil || !slices.Equal(on.cluster.Tags, []string{"gpu", "x"}) || on.cluster.TLS.CA != "ca.pem" {
		t.Errorf("on a cluster: %+v, %v", on, err)
	}
	t.Setenv("LAYSHAFT_PRIORITY", "high")
	in, err := parse("-slots", "4")
	if err != nil || in.Workers != 3 || in.Slots != 4 || in.Memory != 256<<20 || in.cluster != nil {
		t.Errorf("inside the process: %+v, %v", in, err)
	}
	for want, args := range map[string][]string{
		"workers, slots, memory, budget":                       {"-cluster", "127.0.0.1:1", "-workers", "2", "-priority", "1"},
		"LAYSHAFT_PRIORITY":                                    {"-cluster", "127.0.0.1:1"},
		"LAYSHAFT_SLOTS":                                       {},
		"tags and TLS are for a cluster":                       {"-slots", "2", "-tags", "gpu"},
		`cluster "foo" is not HOST:PORT, such as 127.0.0.1:70`: {"-cluster", "foo", "-priority", "1"},
	} {
		if _, err := parse(args...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: want an error with %q, got %v", args, want, err)
		}
	}
}
