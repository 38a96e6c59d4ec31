package mapreduce

import (
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/layshaft/layshaft/internal/bytesize"
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/plain"
	"github.com/layshaft/layshaft/internal/report"
)

// explain prints the stages of a run, without running it.
func explain(w io.Writer, c *compiled, spec *job.Spec, t settings) error {
	if t.Items < 0 || t.ItemTime < 0 || (t.Items == 0) != (t.ItemTime == 0) {
		return fmt.Errorf("explain: %s of %s: give both -explain-items and -explain-item-time, above zero", report.Plural(t.Items, "item"), t.ItemTime)
	}
	fmt.Fprintf(w, "job %s: %s, %s, %s, %s, memory %s\n", spec.ID, report.Plural(len(spec.Stages), "stage"), report.Plural(spec.Tasks(), "task"),
		report.Plural(t.Workers, "worker"), report.Plural(t.Slots, "slot"), bytesize.Format(t.Memory))
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "STAGE\tTASKS\tINPUT\tSTEPS\tOUTPUT")
	estimate := make([]int64, len(c.stages)) // bytes that flow through each stage, at most
	for i, s := range c.stages {
		st := &spec.Stages[i]
		input := ""
		if !s.publish && s.head.read != nil {
			for j := range st.Splits {
				estimate[i] += st.Splits[j].Bytes
			}
			input = fmt.Sprintf("%s, %s in %s", shortened(s.head.read.source.String()), bytesize.Format(estimate[i]), report.Plural(len(st.Splits), "split"))
		}
		for _, e := range s.edges {
			if e.Mode != job.Broadcast {
				estimate[i] += estimate[e.From]
			}
			if input != "" {
				input += "; "
			}
			text := edgeText[e.Mode]
			if s.zoned {
				text = "what each zone holds of stage %d"
			}
			input += fmt.Sprintf(text, e.From)
			if st.Slices > 1 {
				input += fmt.Sprintf(" (shared by %s)", report.Plural(st.Slices, "task"))
			}
		}
		if !s.publish && s.head.wide != nil {
			input += fmt.Sprintf(", at most %s", bytesize.Format(estimate[i]))
		}
		output := ""
		for _, x := range s.ends {
			if output != "" {
				output += "; "
			}
			switch {
			case x.out != nil && x.out.sink != nil:
				output += x.out.sink.name
			case x.out != nil && x.out.name == "":
				output += "rows"
			case x.out != nil:
				output += "output " + x.out.name
			case x.side:
				output += "broadcast to " + x.n.label()
			case x.n.wide.ranged:
				output += "sorted runs for " + x.n.label()
			default:
				output += fmt.Sprintf("%s for %s", report.Plural(c.partitions(x.n, spec), "partition"), x.n.label())
				switch {
				case s.combine:
					output += ", merged where they lie"
				case c.tiers(x.n) == 2:
					output += ", 4 tiers: combined in each task, on each worker, in each zone, then by partition"
				case c.tiers(x.n) == 1:
					output += ", 3 tiers: combined in each task, on each worker, then by partition"
				case x.n.wide.combines:
					output += ", 2 tiers: combined in each task, then by partition"
				}
			}
		}
		fmt.Fprintf(tw, "%d\t%d\t%s\t%s\t%s\n", i, st.Tasks, plain.Text(input), plain.Text(s.label), plain.Text(output))
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	for i := range spec.Stages {
		for _, n := range spec.Stages[i].Needs {
			size := ""
			if n.Size > 0 {
				size = fmt.Sprintf(", which has %d until somebody sets it", n.Size)
			}
			fmt.Fprintf(w, "stage %d: each attempt needs %d of budget %s%s\n", i, n.N, plain.Text(n.Budget), size)
		}
		notes := map[string]int{}
		for _, sp := range spec.Stages[i].Splits {
			if sp.Note != "" {
				notes[sp.Note]++
			}
		}
		for _, n := range slices.Sorted(maps.Keys(notes)) {
			fmt.Fprintf(w, "stage %d: %s: %s\n", i, report.Plural(notes[n], "split"), plain.Text(n))
		}
	}
	c.explainReuse(w)
	explainTime(w, t.Items, t.ItemTime, t.Slots)
	return nil
}

// explainTime prints how long slots take for records of known cost.
func explainTime(w io.Writer, items int64, each time.Duration, slots int) {
	if items == 0 || each == 0 || slots == 0 {
		return
	}
	work := float64(items) * each.Seconds()
	fmt.Fprintf(w, "estimate: %s x %s = %s of work; / %s = %s, if all slots stay busy (%.0f items/s)\n", report.Plural(items, "item"), each, seconds(work), report.Plural(slots, "slot"), seconds(work/float64(slots)), float64(slots)/each.Seconds())
}

// seconds prints a duration, which may be too long for time.Duration, to the second.
func seconds(s float64) string {
	switch {
	case s < 60:
		return fmt.Sprintf("%.3gs", s)
	case s < 24*3600:
		return time.Duration(math.Round(s) * float64(time.Second)).String()
	}
	return fmt.Sprintf("%.1f days", s/(24*3600))
}

// shortened leaves out the middle of a long list of files, to keep the table narrow.
func shortened(source string) string {
	args := strings.Split(source, ", ")
	if len(source) <= 120 || len(args) <= 3 {
		return source
	}
	return fmt.Sprintf("%s, ... %d more ..., %s", args[0], len(args)-2, args[len(args)-1])
}

// tiers returns the number of combine stages for n.
func (c *compiled) tiers(n *node) (tiers int) {
	for _, s := range c.stages {
		if s.combine && s.head == n {
			tiers++
		}
	}
	return tiers
}

var edgeText = map[job.Mode]string{
	job.Shuffle:   "shuffle of stage %d",
	job.Broadcast: "all of stage %d, in memory",
	job.Range:     "key ranges of stage %d",
	job.Group:     "what each worker holds of stage %d",
	job.Sinks:     "files of stage %d",
}
