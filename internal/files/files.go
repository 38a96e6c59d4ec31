// Package files finds, splits and reads the input files of jobs, and commits their output files.
// The file formats (textio, csvio, jsonio, binio, parquetio) share it. It contains no record type
// and no format.
//
// For input, Expand resolves patterns to files, Splits cuts and packs files into splits, and Chunks
// reads whole records of a split.
//
// For output, a Dir contains one file per task and a manifest; a One is a single file. Both make
// the output visible in Finish. Finish may be killed between any two steps and repeated. An
// Appender writes records of any type through an append function.
//
// All access uses the file systems of the context (package filesys), so a path may have any scheme.
package files

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/zeebo/xxh3"
	"golang.org/x/sync/errgroup"

	"github.com/layshaft/layshaft/internal/filesys"
	"github.com/layshaft/layshaft/internal/order"
	"github.com/layshaft/layshaft/internal/plain"
)

// Codec is the compression of a file.
type Codec uint8

// The codecs.
const (
	Plain Codec = iota
	Gzip
	Zstd
	Bzip2 // only to read
	Xz    // only to read
)

// String returns the name of the codec, such as gzip; plain for none. The name of an encoding
// follows.
func (c Codec) String() string {
	if compression, encoding := c.split(); compression == Plain && encoding != "" {
		return encoding
	} else if encoding != "" {
		return compression.String() + " of " + encoding
	}
	switch c {
	case Plain:
		return "plain"
	case Gzip:
		return "gzip"
	case Zstd:
		return "zstd"
	case Bzip2:
		return "bzip2"
	case Xz:
		return "xz"
	}
	return fmt.Sprintf("codec %d", c)
}

// Suffix returns the suffix of written files: empty, .gz or .zst.
func (c Codec) Suffix() string {
	switch c {
	case Gzip:
		return ".gz"
	case Zstd:
		return ".zst"
	}
	return ""
}

// BySuffix returns the codec for the suffix of a file name.
func BySuffix(path string) Codec {
	switch strings.ToLower(filepath.Ext(path)) {
	case ".gz", ".gzip":
		return Gzip
	case ".zst", ".zstd":
		return Zstd
	case ".bz2", ".bzip2":
		return Bzip2
	case ".xz":
		return Xz
	}
	return Plain
}

// byMagic returns the codec for the first bytes of a file.
func byMagic(head []byte) Codec {
	switch {
	case len(head) >= 3 && head[0] == 0x1f && head[1] == 0x8b && head[2] == 8:
		return Gzip
	case len(head) >= 4 && head[0] == 0x28 && head[1] == 0xb5 && head[2] == 0x2f && head[3] == 0xfd,
		len(head) >= 4 && head[0]&0xf0 == 0x50 && head[1] == 0x2a && head[2] == 0x4d && head[3] == 0x18:
		return Zstd
	case bytes.HasPrefix(head, []byte("BZh")) && len(head) >= 10 && (string(head[4:10]) == "1AY&SY" || string(head[4:10]) == "\x17\x72\x45\x38\x50\x90"):
		return Bzip2
	case bytes.HasPrefix(head, []byte("\xfd7zXZ\x00")):
		return Xz
	}
	return Plain
}

// File is one input file.
type File struct {
	Path    string    // as given or found; relative if the pattern was relative
	Size    int64     // bytes on disk
	ModTime time.Time // time of the last change
	Codec   Codec     // compression, from the first bytes or the suffix
	Raw     int64     // bytes after decompression, estimated; Size for a plain file
	// kind is the format of a file that is not text, and advice is what to do with it.
	kind, advice string
	// Changed is when the inode changed, which nobody can set; zero if it is unknown. The file did
	// not change again within the same tick of the clock.
	Changed time.Time
	// Version is a number that differs for any two contents with high probability; zero if nothing
	// is known but size and time. It is part of the identity of a job.
	Version int64
	// Hosts are the workers with a copy of the file. If empty, the file is equally near to all
	// workers.
	Hosts []string
}

// Expand resolves patterns to files, sorted by path and without duplicates. A pattern is a path, a
// glob or a directory. A glob may contain * ? [a-z] {a,b}, and ** for any number of directories. A
// directory stands for all regular files below it.
//
// Each file is read once, whatever number of names lead to it. The Input of ctx decides which files
// are left out: names that start with a dot or an underscore unless the pattern spells them, links
// that lead nowhere, and files that the run writes. Manifests of earlier outputs are omitted too;
// of such an output, exactly the parts that the manifest lists are read. An error names the
// missing, empty or unreadable pattern and a way to correct it.
func Expand(ctx context.Context, patterns []string) ([]File, error) {
	if len(patterns) == 0 {
		return nil, errors.New("no input: give at least one path, directory or glob")
	}
	known, err := filesys.InputOf(ctx).Remember(strings.Join(patterns, "\x00"), func() (any, error) { return expand(ctx, patterns) })
	if err != nil {
		return nil, err
	}
	out := slices.Clone(known.([]File))
	if filesys.IgnoresHolders(ctx) {
		for i := range out {
			out[i].Hosts = nil
		}
	}
	if observe, ok := ctx.Value(observeKey{}).(func([]File)); ok {
		observe(slices.Clone(out))
	}
	if skip, ok := ctx.Value(skipKey{}).(func(string) bool); ok && skip != nil {
		out = slices.DeleteFunc(out, func(f File) bool { return skip(f.Path) })
	}
	return out, nil
}

type observeKey struct{}

// Observe returns a context with which Expand passes the files that it finds to f.
func Observe(ctx context.Context, f func([]File)) context.Context {
	return context.WithValue(ctx, observeKey{}, f)
}

// Skips reports whether Expand leaves out files with this context.
func Skips(ctx context.Context) bool {
	skip, _ := ctx.Value(skipKey{}).(func(string) bool)
	return skip != nil
}

type skipKey struct{}

// Skip returns a context with which Expand leaves out the files for which f returns true; nil
// leaves out none.
func Skip(ctx context.Context, f func(path string) bool) context.Context {
	return context.WithValue(ctx, skipKey{}, f)
}

// expand is Expand. The files have their hosts.
func expand(ctx context.Context, patterns []string) ([]File, error) {
	var found []filesys.Info
	dirs := make(map[string]*outputDir)
	input := filesys.InputOf(ctx)
	for _, p := range patterns {
		if p == "" {
			return nil, errors.New("a path is empty; name a file, a directory or a glob")
		}
		fsys, err := filesys.Of(ctx, p)
		if err != nil {
			return nil, err
		}
		input.Begin("listing "+p, 0)
		infos, why, err := globParts(ctx, fsys, p, dirs)
		if err != nil {
			return nil, explainMissing(p, err)
		}
		infos = slices.DeleteFunc(infos, func(i filesys.Info) bool { return i.LeftOut == filesys.LeftTwice && input.Admit(&i) != "" })
		if c, ok := fsys.(filesys.Copied); ok {
			if err := c.CheckCopies(ctx, infos); err != nil {
				return nil, err
			}
		}
		if len(infos) == 0 {
			return nil, nothingFound(p, why)
		}
		found = append(found, infos...)
	}
	order.Sort(found, func(a, b *filesys.Info) int { return cmp.Compare(a.Path, b.Path) })
	found = slices.CompactFunc(found, func(a, b filesys.Info) bool { return a.Path == b.Path })
	for _, i := range found {
		if !utf8.ValidString(i.Path) { // splits and messages carry paths as JSON and protobuf, which change it
			return nil, fmt.Errorf("%s: the path is not UTF-8, so other processes would look for another one; rename the file, or leave it out", plain.Text(i.Path))
		}
	}
	names := map[string]string{} // by file
	found = slices.DeleteFunc(found, func(i filesys.Info) bool {
		key := i.ID
		if key == "" {
			key = filesys.OnHost(filesys.Clean(i.Path), "")
		}
		first, again := names[key]
		if !again {
			names[key] = i.Path
		} else if !isSamePath(first, i.Path) {
			input.Leave(&i, filesys.LeftTwice)
		}
		return again
	})
	out := make([]File, len(found))
	input.Begin("opening files of "+strings.Join(patterns, " "), len(found))
	heads, err := readHeads(ctx, found)
	if err != nil {
		return nil, err
	}
	err = each(len(found), 16, func(i int) (err error) {
		if heads != nil {
			found[i].Version = cmp.Or(heads[i].Version, found[i].Version)
			var ok bool
			if out[i], ok = probeHead(found[i], heads[i]); ok {
				out[i].Version = versionOf(found[i].Version, out[i].Changed)
				return nil
			}
		}
		defer input.Advance(1)
		out[i], err = probe(ctx, found[i])
		out[i].Version = versionOf(found[i].Version, out[i].Changed)
		return err
	})
	for i, f := range out {
		// a part of an output may be empty; its manifest says so
		if err == nil && f.isEmpty() && !isPart(f.Path, dirs) {
			input.Leave(&found[i], filesys.LeftEmpty)
		}
	}
	return out, err
}

// isEmpty reports whether a file has no byte, or none when decompressed.
func (f *File) isEmpty() bool {
	const gzip, zstd, bzip2, xz = 64, 64, 14, 32 // bytes that such a file has around nothing, at most
	switch compression, _ := f.Codec.split(); compression {
	case Gzip:
		return f.Raw == 0 && f.Size <= gzip
	case Zstd:
		return f.Raw == 0 && f.Size <= zstd
	case Bzip2:
		return f.Size <= bzip2
	case Xz:
		return f.Size <= xz
	}
	return f.Size == 0
}

// gzipTail is how many bytes at the end of a gzip file hold its length.
const gzipTail = 4

// readHeads reads the beginnings of files together, where their file system can. All lie in one
// file system, or the result is nil.
func readHeads(ctx context.Context, found []filesys.Info) ([]filesys.Head, error) {
	if len(found) == 0 {
		return nil, nil
	}
	fsys, err := filesys.Of(ctx, found[0].Path)
	headed, ok := fsys.(filesys.Headed)
	scheme := filesys.Scheme(found[0].Path)
	if err != nil || !ok || slices.ContainsFunc(found, func(i filesys.Info) bool { return filesys.Scheme(i.Path) != scheme }) {
		return nil, err
	}
	return headed.Heads(ctx, found, headSize, gzipTail)
}

// probeHead is probe of a file whose beginning is known. It returns false for a file that must be
// opened.
func probeHead(i filesys.Info, head filesys.Head) (File, bool) {
	if !i.Mode.IsRegular() || len(head.First) == 0 && i.Size > 0 {
		return File{}, false
	}
	out := newFile(i)
	if i.Size == 0 {
		return out, true
	}
	out.recognize(head.First)
	if out.Codec == Zstd {
		return File{}, false // its frames lie all over the file
	}
	out.Raw = estimateSize(tailReader{head.Last, i.Size - int64(len(head.Last))}, out)
	return out, true
}

// tailReader reads the last bytes of a file, from offset at.
type tailReader struct {
	last []byte
	at   int64
}

func (r tailReader) ReadAt(p []byte, off int64) (int, error) {
	return bytes.NewReader(r.last).ReadAt(p, off-r.at)
}

// versionOf returns the Version of a File, from the text of its file system, else from the time of
// its inode.
func versionOf(text string, changed time.Time) int64 {
	switch {
	case text != "":
		return int64(xxh3.HashString(text) | 1)
	case !changed.IsZero():
		return changed.UnixNano()
	}
	return 0
}

// isVersion reports whether a Version of a File was made from a text of its file system.
func isVersion(version int64, text string) bool { return versionOf(text, time.Time{}) == version }

func newFile(i filesys.Info) File {
	return File{Path: i.Path, Size: i.Size, ModTime: i.ModTime, Raw: i.Size, Changed: i.Changed, Hosts: i.Hosts}
}

// recognize sets codec and kind from the first bytes.
func (f *File) recognize(head []byte) {
	if f.Codec = byMagic(head); f.Codec == Plain {
		f.Codec = BySuffix(f.Path)
	}
	f.kind, f.advice = kindOf(head)
}

// globParts lists the files that match a pattern, and of outputs the parts that their manifests
// list. If a job replaces an output meanwhile, it lists once more. why is a reason for which files
// are left out.
func globParts(ctx context.Context, fsys filesys.FS, pattern string, dirs map[string]*outputDir) (infos []filesys.Info, why filesys.LeftOut, err error) {
	for range 3 {
		if infos, err = fsys.Glob(ctx, pattern); err == nil {
			infos, why = admit(ctx, infos)
			infos, err = byManifests(ctx, pattern, infos, dirs)
		}
		if !errors.Is(err, errChanged) {
			break
		}
		clear(dirs)
	}
	return infos, why, err
}

// admit removes the files that are no input, except further names of files that are.
func admit(ctx context.Context, infos []filesys.Info) (_ []filesys.Info, why filesys.LeftOut) {
	input := filesys.InputOf(ctx)
	return slices.DeleteFunc(infos, func(i filesys.Info) bool {
		if filesys.IsTemp(i.Path) {
			return true
		}
		left := input.Admit(&i)
		if left == "" || left == filesys.LeftTwice {
			return false
		}
		why = left
		return true
	}), why
}

// isSamePath reports whether two paths are spellings of one path.
func isSamePath(a, b string) bool {
	if filesys.Scheme(a) != "" || filesys.Scheme(b) != "" {
		a, b = strings.TrimPrefix(a, "file://"), strings.TrimPrefix(b, "file://")
		return filesys.OnHost(filesys.Clean(a), "") == filesys.OnHost(filesys.Clean(b), "")
	}
	a, errA := filepath.Abs(a)
	b, errB := filepath.Abs(b)
	return errA == nil && errB == nil && a == b
}

// nothingFound returns the error for a pattern without input. why is why its files are left out.
func nothingFound(pattern string, why filesys.LeftOut) error {
	switch why {
	case filesys.LeftHidden:
		return fmt.Errorf("%s: all its files lie below names that begin with . or _; spell such a name, or read them with -hidden", pattern)
	case filesys.LeftOwn:
		return fmt.Errorf("%s: all its files lie where the job writes; write to another place", pattern)
	case filesys.LeftCopy:
		return fmt.Errorf("%s: the files that COPY wrote there are gone; read another output, or run COPY again", pattern)
	case filesys.LeftLink:
		return fmt.Errorf("%s: it has only links that lead nowhere; correct the links", pattern)
	}
	return noFiles(pattern)
}

// noFiles is the error of a pattern that matches no file. It is fs.ErrNotExist.
type noFiles string

func (p noFiles) Error() string {
	return string(p) + ": no file found there; check the path, or remove the pattern"
}

func (noFiles) Is(target error) bool { return target == fs.ErrNotExist }

// atOnce returns the useful number of parallel operations on files like path. Remote files have
// latency, so it is higher there.
func atOnce(path string) int {
	if filesys.Scheme(path) == "" {
		return 1
	}
	return 16
}

// each calls f for 0 to n-1, up to atOnce calls in parallel, and returns the error with the lowest
// index.
func each(n, atOnce int, f func(i int) error) error {
	if atOnce == 1 {
		for i := range n {
			if err := f(i); err != nil {
				return err
			}
		}
		return nil
	}
	errs := make([]error, n)
	var group errgroup.Group
	group.SetLimit(atOnce)
	for i := range n {
		group.Go(func() error {
			errs[i] = f(i)
			return nil
		})
	}
	group.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// probe opens the file to check that it can be read, and to find its codec.
func probe(ctx context.Context, i filesys.Info) (File, error) {
	if !i.Mode.IsRegular() {
		return File{}, fmt.Errorf("%s: not a regular file; write its content to a file first", i.Path)
	}
	out := newFile(i)
	f, err := out.Open(ctx)
	if err != nil {
		return File{}, err
	}
	defer f.Close()
	if out.Size == 0 {
		return out, nil
	}
	if wait := filesys.UntilSettled(i.Changed); wait > 0 && filesys.IsLocal(f) {
		time.Sleep(wait)
		now, err := f.Stat()
		if err != nil {
			return File{}, withPath(i.Path, err)
		}
		out.Size, out.Raw, out.ModTime, out.Changed = now.Size, now.Size, now.ModTime, now.Changed
	}
	var head [headSize]byte
	n, err := f.ReadAt(head[:], 0)
	if n == 0 {
		return File{}, withPath(i.Path, err)
	}
	out.recognize(head[:n])
	out.Raw = estimateSize(f, out)
	return out, nil
}

// isSame reports whether a content with this version, as in filesys.Info, is the one of the file.
func (f File) isSame(version string) bool { return isVersion(f.Version, version) }

// Open opens the file for reading.
func (f File) Open(ctx context.Context) (filesys.File, error) {
	return filesys.Open(ctx, f.Path, f.Hosts, f.isSame)
}

// withPath adds the file's path to an error, unless the error already contains one.
func withPath(path string, err error) error {
	var own *filesys.Error
	if errors.As(err, &own) {
		return err
	}
	return fmt.Errorf("%s: %w", path, filesys.Cause(err))
}
