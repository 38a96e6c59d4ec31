package mapreduce

import (
	"fmt"

	"github.com/layshaft/layshaft/internal/filesys"
	"github.com/layshaft/layshaft/internal/plain"
	"github.com/layshaft/layshaft/internal/report"
)

// places returns the files and directories that a run writes to.
func (c *compiled) places(t settings) []string {
	var own []string
	if t.State != "" {
		own = append(own, t.State)
	}
	if t.Quarantine != "" {
		own = append(own, t.Quarantine)
	}
	if t.written != "" {
		own = append(own, t.written)
	}
	for _, o := range c.plan.outs {
		if o.sink != nil && o.sink.place != "" {
			own = append(own, o.sink.place)
		}
	}
	return own
}

// printLeftOut prints how many files the sources of a run left out, and the way to read them. It
// also prints how many files are empty: they are no error, but seldom intended.
func printLeftOut(t *settings, in *filesys.Input) {
	w, prefix := t.Err, "layshaft: "
	if t.Explain {
		w, prefix = t.Out, ""
	}
	for _, x := range []struct {
		why         filesys.LeftOut
		what, after string
	}{
		{filesys.LeftHidden, "file", " below names that begin with . or _ left out, such as %s; spell such a name to read them, or use -hidden"},
		{filesys.LeftLink, "link", " that leads nowhere left out, such as %s"},
		{filesys.LeftTwice, "name", " of files that have another name left out, such as %s; each file is read once"},
		{filesys.LeftOwn, "file", " where this job writes left out, such as %s"},
	} {
		if l := in.LeftOut(x.why); l != nil {
			fmt.Fprintf(w, prefix+report.Plural(l.N(), x.what)+x.after+"\n", plain.Text(filesys.DisplayText(l.First)))
		}
	}
	if l := in.LeftOut(filesys.LeftEmpty); l != nil {
		first := plain.Text(filesys.DisplayText(l.First))
		if l.N() == 1 {
			fmt.Fprintf(w, "%s%s is empty: 0 bytes\n", prefix, first)
		} else {
			fmt.Fprintf(w, "%s%d files are empty: 0 bytes, such as %s\n", prefix, l.N(), first)
		}
	}
}
