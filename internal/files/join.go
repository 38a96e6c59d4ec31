package files

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/zeebo/xxh3"

	"github.com/layshaft/layshaft/internal/filesys"
	"github.com/layshaft/layshaft/internal/order"
	"github.com/layshaft/layshaft/internal/report"
)

// Finish joins small files of one folder that follow each other in the order of the tasks, so that
// many tasks with little output do not leave many files. What it joins depends on the sizes alone.
// The files of the tasks stay in the temporary directory until the end, so a Finish that is
// repeated joins them again to the same bytes.

// group is one file of the finished output: the file of a task, or several that are joined.
type group struct {
	parts  []Part
	spread bool
}

// name returns the final name.
func (g group) name() string {
	name := g.parts[0].Name
	if len(g.parts) > 1 && g.spread {
		// The files of other attempts must not give a file of the same name; see Dir.create.
		at := strings.LastIndexByte(name, '/') + 1
		if dot := strings.IndexByte(name[at:], '.'); dot >= 0 {
			at += dot
		} else {
			at = len(name)
		}
		name = name[:at] + "-" + g.hash()[:8] + name[at:]
	}
	return name
}

// hash returns a hash of the parts.
func (g group) hash() string {
	h := xxh3.New()
	for _, p := range g.parts {
		fmt.Fprintf(h, "%s %d %d %s\n", p.Name, p.Bytes, p.Records, p.XXH3)
	}
	return fmt.Sprintf("%016x", h.Sum64())
}

// plan returns the files of the finished output. Empty files of folders are left out, unless all
// are empty.
func (d *Dir) plan(list []Part) []group {
	spread := slices.ContainsFunc(list, func(p Part) bool { return p.Host != "" })
	if len(d.folders) > 0 && len(list) > 0 {
		first := list[0]
		list = slices.DeleteFunc(slices.Clone(list), func(p Part) bool { return p.Records == 0 })
		if len(list) == 0 {
			list = []Part{first}
		}
		order.Sort(list, func(a, b *Part) int { return strings.Compare(filesys.Dir(a.Name), filesys.Dir(b.Name)) })
	}
	var groups []group
	var last int64 // bytes of the last group; negative if it is complete
	for _, p := range list {
		n := len(groups)
		small := p.Bytes < d.size/2
		if n > 0 && small && last >= 0 && last+p.Bytes <= d.size && filesys.Dir(groups[n-1].parts[0].Name) == filesys.Dir(p.Name) {
			groups[n-1].parts = append(groups[n-1].parts, p)
			last += p.Bytes
			continue
		}
		groups = append(groups, group{[]Part{p}, spread})
		if last = p.Bytes; !small {
			last = -1
		}
	}
	return groups
}

// checkParts returns an error when a part of g does not exist; see checkPart.
func (d *Dir) checkParts(ctx context.Context, fsys filesys.FS, job string, g group, moved bool) error {
	for _, p := range g.parts {
		if err := d.checkPart(ctx, fsys, job, p, moved && len(g.parts) == 1); err != nil {
			return err
		}
	}
	return nil
}

// joinAll joins the parts of each group in the temporary directory, and returns the parts of the
// finished output.
func (d *Dir) joinAll(ctx context.Context, fsys filesys.FS, job string, groups []group) ([]Part, error) {
	out := make([]Part, len(groups))
	err := each(len(groups), d.joinsAtOnce(), func(i int) (err error) {
		if out[i] = groups[i].parts[0]; len(groups[i].parts) > 1 {
			out[i], err = d.joinGroup(ctx, fsys, job, groups[i], joinedName(i))
		}
		return err
	})
	return out, err
}

// joinsAtOnce returns how many joins run at once. A Joiner may hold two row groups in memory.
func (d *Dir) joinsAtOnce() int {
	n := atOnce(d.Path)
	if d.join != nil {
		n = min(n, 2)
	}
	return n
}

// joinGroup joins the parts of a group to a file with a temporary name.
func (d *Dir) joinGroup(ctx context.Context, fsys filesys.FS, job string, g group, temp string) (Part, error) {
	step("join parts")
	f, err := fsys.Create(ctx, filesys.Join(d.tempDir(job), temp))
	if err != nil {
		return Part{}, err
	}
	w := &hashedFile{f, 0, xxh3.New()}
	err = joinFiles(ctx, fsys, w, d.tempDir(job), g.parts, d.join)
	if err == nil && !d.NoSync {
		err = f.Sync()
	}
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		f.Abort()
		return Part{}, err
	}
	p := Part{Name: g.name(), Temp: temp, Host: filesys.Host(f.Path()), Bytes: w.n, XXH3: fmt.Sprintf("%016x", w.hash.Sum64()), Joined: g.hash()}
	for _, q := range g.parts {
		p.Records += q.Records
	}
	return p, nil
}

// eachFolder calls f for the folders of parts below the directory, outermost first, and for each
// host of a folder.
func (d *Dir) eachFolder(list []Part, f func(dir string) error) error {
	seen := map[string]bool{}
	for _, p := range list {
		parts := strings.Split(p.Name, "/")
		for i := 1; i < len(parts); i++ {
			folder := filesys.OnHost(filesys.Join(d.Path, strings.Join(parts[:i], "/")), p.Host)
			if seen[folder] {
				continue
			}
			seen[folder] = true
			if err := f(folder); err != nil {
				return err
			}
		}
	}
	return nil
}

// makeFolders makes the folders of parts. A host that is absent may be back under another name; see
// moveIn.
func (d *Dir) makeFolders(ctx context.Context, fsys filesys.FS, list []Part) error {
	return d.eachFolder(list, func(dir string) error { return ignoreGone(makeDirs(ctx, fsys, dir, d.NoSync)) })
}

// syncFolders makes the names of parts in their folders durable. The directory itself is synced
// with the manifest.
func (d *Dir) syncFolders(ctx context.Context, fsys filesys.FS, list []Part) error {
	return d.eachFolder(list, func(dir string) error { return syncDir(ctx, fsys, dir, d.NoSync) })
}

// joinFiles writes the content of parts to w.
func joinFiles(ctx context.Context, fsys filesys.FS, w io.Writer, temp string, list []Part, join Joiner) error {
	if join == nil {
		for i, p := range list {
			if i == 0 {
				p.Head = 0
			}
			if err := appendPart(ctx, fsys, w, filesys.Join(temp, p.Temp), p); err != nil {
				return err
			}
		}
		return nil
	}
	files := make([]JoinFile, len(list))
	for i, p := range list {
		files[i] = JoinFile{Part: p, Path: filesys.Join(temp, p.Temp), open: func(path string) (filesys.File, error) { return openPart(ctx, fsys, path, p) }}
	}
	return join(w, files)
}

// openPart opens the temporary file of a part.
func openPart(ctx context.Context, fsys filesys.FS, path string, p Part) (filesys.File, error) {
	src, err := fsys.Open(ctx, filesys.OnHost(path, p.Host))
	if errors.Is(err, filesys.ErrGone) && p.Host != "" {
		src, err = fsys.Open(ctx, path) // the host may be back under another name
	}
	return src, err
}

// appendPart copies one part without its head to w. On Linux the kernel copies local files
// (copy_file_range).
func appendPart(ctx context.Context, fsys filesys.FS, w io.Writer, path string, p Part) error {
	src, err := openPart(ctx, fsys, path, p)
	if err != nil {
		return err
	}
	defer src.Close()
	n, err := io.Copy(w, src.Stream(p.Head, p.Bytes-p.Head+1))
	if err != nil {
		return withPath(path, err)
	}
	if n != p.Bytes-p.Head {
		return fmt.Errorf("%s has %s, its task wrote %d", path, report.Plural(n+p.Head, "byte"), p.Bytes)
	}
	return nil
}
