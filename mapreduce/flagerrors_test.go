package mapreduce

import (
	"bytes"
	"flag"
	"strings"
	"testing"
)

// An error of a flag takes a few lines, with a correction. Help has all flags.
func TestFlagErrorsAreShort(t *testing.T) {
	for arg, want := range map[string]string{
		"-memroy=1":          "not defined: -memroy; did you mean -memory?\n",
		"-xyzzyxy":           "not defined: -xyzzyxy\nfor all flags: ",
		"-state-age=10":      "-state-age: parse error; write a time with its unit, such as 10s, 5m or 2h\n",
		"-workers=x":         "-workers: parse error; write a number\n",
		"-counters=perhaps":  "-counters: parse error; write -counters or -counters=false\n",
		"-memory=much":       "-memory: ",
		"-state":             "flag needs an argument: -state\n  -state DIR: keep journal",
		"-h":                 "-requeue FILE",
		"-budget=pg=x=other": "is not NAME=N",
	} {
		var out bytes.Buffer
		fs := flag.NewFlagSet("p", flag.ContinueOnError)
		Flags(fs)
		fs.SetOutput(&shortErrors{fs: fs, to: &out})
		fs.Usage = func() { fs.PrintDefaults() }
		if err := fs.Parse([]string{arg}); err == nil {
			t.Errorf("%s: no error", arg)
		}
		text := out.String()
		if lines := strings.Count(text, "\n"); !strings.Contains(text, want) || (lines > 4) != (arg == "-h") {
			t.Errorf("%s: %d lines, want %q in\n%s", arg, lines, want, text)
		}
	}
	exits := flag.NewFlagSet("p", flag.ExitOnError)
	Flags(exits)
	if _, ok := exits.Output().(*shortErrors); !ok {
		t.Errorf("a flag set that ends the process has the output %T, want *shortErrors", exits.Output())
	}
}

// A flag of a package variable that is set here, and is in no parameter, is named before a run on a
// cluster.
func TestUnsentFlagsAreNamed(t *testing.T) {
	before := flagsBeforeMain
	defer func() { flagsBeforeMain = before }()
	flagsBeforeMain = map[string]bool{"min": true, "sent": true, "same": true, "priority": true}
	fs := flag.NewFlagSet("p", flag.ContinueOnError)
	for _, name := range []string{"min", "sent", "same", "later", "priority"} {
		fs.Int(name, 0, "")
	}
	if err := fs.Parse([]string{"-min", "500", "-sent", "7", "-same", "0", "-later", "3", "-priority", "2"}); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	(&settings{Local: Local{Reporting: Reporting{Err: &said}}}).noteUnsentFlags(fs, []byte(`{"Sent":7}`))
	if got := said.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, `-min 500 counts in this process only`) || !strings.Contains(got, "layshaft vet") {
		t.Errorf("printed %q, want one line about -min", got)
	}
}
