package files

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/layshaft/layshaft/internal/filesys"
	"github.com/layshaft/layshaft/internal/job"
)

// tree writes files below a new directory, which becomes the working directory.
func tree(t *testing.T, content map[string]string) {
	t.Helper()
	t.Chdir(t.TempDir())
	for path, text := range content {
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
}

func paths(fs []File) []string {
	var out []string
	for _, f := range fs {
		out = append(out, filepath.ToSlash(f.Path))
	}
	return out
}

func TestExpand(t *testing.T) {
	tree(t, map[string]string{
		"a.txt": "a", "b.txt": "b", "x[1].txt": "x", "d/c.txt": "c", "d/e/f.txt": "f", "d/e/g.csv": "g", "empty/.keep": "",
		"d/.hidden": "", "d/_logs": "", "d/.git/h.txt": "", "_old/i.txt": "i",
		"out/part-00000.txt": "o", "out/manifest.json": manifestHead + `1, "job": "j1", "complete": true, "parts": [{"name": "part-00000.txt", "bytes": 1}]}`,
		"more/part-00000.txt": "o", "more/x.txt": "x", "more/manifest.json": manifestHead + `1, "job": "j2", "complete": true, "parts": [{"name": "part-00000.txt", "bytes": 1}]}`,
		"less/part-00001.log": "o", "less/manifest.json": manifestHead + `1, "job": "j3", "complete": true, "parts": [{"name": "part-00000.log", "bytes": 1}, {"name": "part-00001.log", "bytes": 1}]}`,
		"size/part-00000.log": "longer", "size/manifest.json": manifestHead + `1, "job": "j4", "complete": true, "parts": [{"name": "part-00000.log", "bytes": 1}]}`,
		"none/part-00000.log": "o", "none/manifest.json": manifestHead + `1, "job": "j5", "complete": true}`,
		"half/part-00000.txt": "o", "half/manifest.json": manifestHead + `1, "job": "j7", "complete": false}`,
		"other/manifest.json": `{"name": "theirs"}`,
	})
	for _, c := range []struct{ in, want, wrong string }{
		{in: "a.txt", want: "a.txt"},
		{in: "./a.txt b.txt a.txt", want: "a.txt b.txt"},
		{in: "*.txt", want: "a.txt b.txt x[1].txt"},
		{in: "x[1].txt", want: "x[1].txt"},
		{in: "{b,a}.txt", want: "a.txt b.txt"},
		{in: "d", want: "d/c.txt d/e/f.txt d/e/g.csv"},
		{in: "d d/c.txt d/**/*.csv", want: "d/c.txt d/e/f.txt d/e/g.csv"},
		{in: "d/**", want: "d/c.txt d/e/f.txt d/e/g.csv"},
		{in: "{d,out}/**/*.txt", want: "d/c.txt d/e/f.txt out/part-00000.txt"},
		{in: "d/*", want: "d/c.txt d/e/f.txt d/e/g.csv"},
		{in: "d/.h*", want: "d/.hidden"},
		{in: "_old", want: "_old/i.txt"},
		{in: "_o*/*.txt", want: "_old/i.txt"},
		{in: "out", want: "out/part-00000.txt"},
		{in: "out/*", want: "out/part-00000.txt"},
		{in: "more/x*", want: "more/x.txt"},
		{in: "more/part*", want: "more/part-00000.txt"},
		{in: "more", wrong: "more/x.txt is not in manifest.json"},
		{in: "less", wrong: "less/part-00000.log is missing"},
		{in: "l*/*.log", wrong: "run job j3 again, or remove manifest.json"},
		{in: "less/part-00001.log", want: "less/part-00001.log"},
		{in: "size", wrong: "size/part-00000.log has 6 bytes, but 1 in manifest.json"},
		{in: "none", wrong: "none/part-00000.log is not in manifest.json"},
		{in: "other", want: "other/manifest.json"},
		{in: "", wrong: "give at least one"},
		{in: "gone.txt", wrong: "gone.txt: no such file or directory; the path counts from "},
		{in: "/gone/x.txt", wrong: "/gone/x.txt: no such file or directory; check the path"},
		{in: "*.json", wrong: "*.json: no file found there"},
		{in: "empty", wrong: "empty: all its files lie below names that begin with . or _; spell such a name, or read them with -hidden"},
		{in: "a[", wrong: "a[: syntax error"},
		{in: "half", wrong: "half contains files of two jobs, because job j7"},
		{in: "**/*.txt", wrong: "half contains files of two jobs, because job j7"},
	} {
		fs, err := Expand(context.Background(), strings.Fields(c.in))
		switch {
		case c.wrong == "" && err != nil:
			t.Errorf("Expand(%q): %v", c.in, err)
		case c.wrong != "" && (err == nil || !strings.Contains(err.Error(), c.wrong)):
			t.Errorf("Expand(%q) = %v, %v; want an error with %q", c.in, paths(fs), err, c.wrong)
		case c.wrong == "" && !slices.Equal(paths(fs), strings.Fields(c.want)):
			t.Errorf("Expand(%q) = %v, want %v", c.in, paths(fs), c.want)
		}
	}
}

func TestExpandLinks(t *testing.T) {
	tree(t, map[string]string{"data/a.txt": "a", "far/b.txt": "b"})
	for link, to := range map[string]string{"data/b.txt": "../far/b.txt", "data/loop": ".", "data/dead": "nowhere"} {
		if err := os.Symlink(to, link); err != nil {
			t.Skip(err)
		}
	}
	if err := os.Symlink("data", "linked"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ in, want string }{
		{"data", "data/a.txt data/b.txt"},
		{"data/**", "data/a.txt data/b.txt"},
		{"**/*.txt", "data/a.txt far/b.txt"}, // no directory and no file is read twice, nor for ever
		{"linked/*.txt", "linked/a.txt linked/b.txt"},
		{"link*/a.txt", "linked/a.txt"},
	} {
		fs, err := Expand(context.Background(), []string{c.in})
		if err != nil || !slices.Equal(paths(fs), strings.Fields(c.want)) {
			t.Errorf("Expand(%q) = %v, %v; want %s", c.in, paths(fs), err, c.want)
		}
	}
}

// TestExpandLeavesOut checks which files are left out, and that each is counted.
func TestExpandLeavesOut(t *testing.T) {
	tree(t, map[string]string{
		"a.txt": "a", ".env.txt": "h", "_x.txt": "h", "d/b.txt": "b", "d/.git/c.txt": "h", "d/_asm/e.txt": "h", "d/_asm/.f.txt": "h",
		"out/part-00000.txt": "o", "out/sub/x.txt": "o", "out2/y.txt": "y", ".out.layshaft-j1/part.txt": "temporary", "d/.layshaft-written/b.txt": "temporary",
	})
	for link, to := range map[string]string{"d/up": "..", "d/self": ".", "d/dead.txt": "nowhere", "l.txt": "d/b.txt", "d/far": "../out2", "o": "out"} {
		if err := os.Symlink(to, link); err != nil {
			t.Skip(err)
		}
	}
	if err := os.Link("a.txt", "h.txt"); err != nil {
		t.Skip(err)
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	const none = ""
	for _, c := range []struct {
		in     string
		hidden bool
		own    string
		want   string
		left   string // reason=number of files
	}{
		{in: "*.txt", want: "a.txt d/b.txt"}, // see below for links
		{in: "a.txt ./a.txt " + here + "/a.txt file://" + here + "/a.txt", want: here + "/a.txt"},
		{in: "a.txt h.txt", want: "a.txt", left: "twice=1"},
		{in: "h.txt a.txt", want: "a.txt", left: "twice=1"},
		{in: "d/b.txt l.txt", want: "d/b.txt", left: "twice=1"},
		{in: "d/**/b.txt", want: "d/b.txt", left: "hidden=0"},
		{in: "d/_asm/*", want: "d/_asm/e.txt", left: "hidden=1"},
		{in: "d/_*/*.txt", want: "d/_asm/e.txt", left: "hidden=1"},
		{in: "d/{_asm,.git}/*", want: "d/.git/c.txt d/_asm/e.txt", left: "hidden=1"},
		{in: "{d/_asm,d}/*.txt", want: "d/_asm/e.txt d/b.txt", left: "hidden=1 link=1"},
		{in: "{d,d/_asm}/*.txt", want: "d/_asm/e.txt d/b.txt", left: "hidden=1 link=1"},
		{in: "d/*.txt d/_asm/*.txt", want: "d/_asm/e.txt d/b.txt", left: "hidden=1 link=1"},
		{in: "d/_asm", hidden: true, want: "d/_asm/.f.txt d/_asm/e.txt"},
		{in: ".env.txt", want: ".env.txt"},
		{in: ".*.txt", want: ".env.txt", left: "hidden=0"},
		{in: "[._]*.txt", want: none, left: "hidden=2"},
		{in: "out2 o", want: "o/part-00000.txt o/sub/x.txt out2/y.txt"},
		{in: "out*/**", own: "out", want: "out2/y.txt", left: "own=2"},
		{in: "out2 o", own: here + "/out/", want: none, left: "own=2"},
		{in: "{out,out2}", own: "o", want: "out2/y.txt", left: "own=2"},
		{in: "a.txt out2/*", own: "file://" + here + "/out2/y.txt", want: none, left: "own=1"},
	} {
		input := &filesys.Input{Hidden: c.hidden}
		if c.own != "" {
			input.Outputs = []string{c.own}
		}
		fs, err := Expand(filesys.WithInput(t.Context(), input), strings.Fields(c.in))
		if (c.want == none) != (err != nil) {
			t.Errorf("Expand(%q): %v", c.in, err)
		}
		if c.in != "*.txt" && !slices.Equal(paths(fs), strings.Fields(c.want)) {
			t.Errorf("Expand(%q) = %v, want %v", c.in, paths(fs), c.want)
		}
		for want := range strings.FieldsSeq(c.left) {
			why, n, _ := strings.Cut(want, "=")
			got := 0
			if l := input.LeftOut(filesys.LeftOut(why)); l != nil {
				got = l.N()
			}
			if fmt.Sprint(got) != n {
				t.Errorf("Expand(%q) leaves out %d as %s, want %s", c.in, got, why, n)
			}
		}
	}
	// All spellings of everything read the same files, each once.
	all := map[bool]string{false: "a b o o y", true: "a b h h h h h o o y"}
	for hidden, want := range all {
		for _, in := range []string{".", "**", here, "d/up", "{*,d/*}", "* d", "d *", "d/far .", "d/self/up/**"} {
			input := &filesys.Input{Hidden: hidden}
			fs, err := Expand(filesys.WithInput(t.Context(), input), strings.Fields(in))
			var content []string
			for _, f := range fs {
				b, err := os.ReadFile(f.Path)
				if err != nil {
					t.Error(err)
				}
				content = append(content, string(b))
			}
			slices.Sort(content)
			if got := strings.Join(content, " "); err != nil || got != want {
				t.Errorf("Expand(%q), hidden %v: content %s, want %s; %v", in, hidden, got, want, err)
			}
			if l := input.LeftOut(filesys.LeftHidden); !hidden && (l == nil || l.N() < 3) {
				t.Errorf("Expand(%q) leaves out %+v, want 5 hidden files", in, l)
			}
			if l := input.LeftOut(filesys.LeftLink); l == nil || l.N() != 1 {
				t.Errorf("Expand(%q) leaves out %+v, want the dangling link", in, l)
			}
		}
	}
}

func TestExpandPermission(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root may read everything")
	}
	tree(t, map[string]string{"d/a.txt": "a", "e/b.txt": "b"})
	if err := os.Chmod("d/a.txt", 0); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod("e", 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Chmod("e", 0o777) })
	for _, p := range []string{"d", "d/*", "d/a.txt", "e", "e/**"} {
		if fs, err := Expand(context.Background(), []string{p}); err == nil || !strings.Contains(err.Error(), "change its mode") {
			t.Errorf("Expand(%q) = %v, %v; want an error about its mode", p, paths(fs), err)
		}
	}
}

func gz(s string) string {
	var b strings.Builder
	w := gzip.NewWriter(&b)
	w.Write([]byte(s))
	w.Close()
	return b.String()
}

// zst returns s as zstd frames of n bytes each that state their sizes.
func zst(s string, n int) string {
	var out []byte
	for len(s) > n {
		out = encoder.EncodeAll([]byte(s[:n]), out)
		s = s[n:]
	}
	return string(encoder.EncodeAll([]byte(s), out))
}

// encoder makes frames of one segment, so that small ones state their sizes too.
var encoder, _ = zstd.NewWriter(nil, zstd.WithSingleSegment(true), zstd.WithEncoderConcurrency(1))

// seekable appends a seek table to zstd frames, by the format's own description.
func seekable(s string, n int, checksums bool) string {
	le32 := func(v int) []byte { return []byte{byte(v), byte(v >> 8), byte(v >> 16), byte(v >> 24)} }
	var out, table []byte
	frames := 0
	for ; len(s) > 0; frames++ {
		k := min(n, len(s))
		f := zst(s[:k], k)
		out, s = append(out, f...), s[k:]
		table = append(append(table, le32(len(f))...), le32(k)...)
		if checksums {
			table = append(table, 1, 2, 3, 4)
		}
	}
	flags := byte(0)
	if checksums {
		flags = 0x80
	}
	out = append(append(out, le32(seekableFrame)...), le32(len(table)+9)...)
	out = append(append(append(out, table...), le32(frames)...), flags)
	return string(append(out, 0xb1, 0xea, 0x92, 0x8f))
}

// streamed returns s as one zstd frame that does not state its size.
func streamed(s string) string {
	var b strings.Builder
	w, err := zstd.NewWriter(&b, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		panic(err)
	}
	w.Write([]byte(s[:len(s)/2]))
	w.Flush()
	w.Write([]byte(s[len(s)/2:]))
	w.Close()
	return b.String()
}

func TestCodecs(t *testing.T) {
	text := strings.Repeat("some text\n", 100)
	tree(t, map[string]string{
		"a": text, "b": gz(text), "c": zst(text, 1000), "d": seekable(text, 300, true), "e.gz": text, "f.zst": "", "g.ZST": streamed(text),
	})
	for path, want := range map[string]File{
		"a": {Codec: Plain, Raw: 1000}, "b": {Codec: Gzip, Raw: 1000}, "c": {Codec: Zstd, Raw: 1000}, "d": {Codec: Zstd, Raw: 1000},
		"e.gz": {Codec: Gzip}, "f.zst": {Codec: Plain}, "g.ZST": {Codec: Zstd},
	} {
		fs, err := Expand(context.Background(), []string{path})
		if err != nil {
			t.Fatal(err)
		}
		if f := fs[0]; f.Codec != want.Codec || want.Raw != 0 && f.Raw != want.Raw {
			t.Errorf("%s is %v with %d bytes, want %v with %d", path, f.Codec, f.Raw, want.Codec, want.Raw)
		}
	}
}

func TestSplits(t *testing.T) {
	text := strings.Repeat("0123456789", 100)
	tree(t, map[string]string{
		"a": text, "b": text[:10], "c": text[:20], "d": text[:90], "e.gz": gz(text), "f": "", "g": zst(text, 100), "h": seekable(text, 99, false),
		"i": streamed(text), "j": zst(text, 1000), "k.gz": gz(text[:30]),
	})
	for _, c := range []struct {
		in     string
		target int64
		want   string
	}{
		{in: "a", target: 250, want: "a[0:250] 250|a[250:500] 250|a[500:750] 250|a[750:1000] 250"},
		{in: "a", target: 950, want: "a 1000"},
		{in: "a", target: 0, want: "a 1000"},
		{in: "a", target: 400, want: "a[0:333] 333|a[333:666] 333|a[666:1000] 334"},
		{in: "b c d f", target: 100, want: "2 files, b … c 30|2 files, d … f 90"},
		{in: "b c d", target: 1000, want: "3 files, b … d 120"},
		{in: "b e.gz f", target: 100, want: "b 10|e.gz 1000 (gzip: cannot be cut)|f 0"},
		{in: "b k.gz", target: 1000, want: "2 files, b … k.gz 40"},
		{in: "g", target: 300, want: "g[0:300] 300|g[300:600] 300|g[600:900] 300|g[900:1000] 100"},
		{in: "h", target: 300, want: "h[0:396] 396|h[396:792] 396|h[792:1000] 208"},
		{in: "i", target: 10, want: "i 76 (zstd: cannot be cut: its frames do not state their sizes)"},
		{in: "j", target: 300, want: "j 1000 (zstd: one frame, cannot be cut)"},
	} {
		fs, err := Expand(context.Background(), strings.Fields(c.in))
		if err != nil {
			t.Fatal(err)
		}
		splits, err := Splits(context.Background(), fs, c.target)
		if err != nil {
			t.Errorf("%s: %v", c.in, err)
		}
		var got []string
		for _, s := range splits {
			text := s.Label
			if c.in != "i" || s.Bytes == 4*fs[0].Size {
				text += " " + itoa(s.Bytes)
			}
			if s.Note != "" {
				text += " (" + s.Note + ")"
			}
			got = append(got, text)
		}
		if c.in == "i" {
			c.want = strings.Replace(c.want, "76", itoa(4*fs[0].Size), 1)
		}
		if g := strings.Join(got, "|"); g != c.want {
			t.Errorf("Splits(%s, %d)\n got %s\nwant %s", c.in, c.target, g, c.want)
		}
	}
}

func TestSplitsOfManyFiles(t *testing.T) {
	var fs []File
	for range maxFiles + 10 {
		fs = append(fs, File{Path: "x", Size: 1, Raw: 1, ModTime: time.Unix(5, 0)})
	}
	splits, err := Splits(context.Background(), fs, 1<<20)
	if err != nil || len(splits) != 2 || splits[0].Bytes != maxFiles {
		t.Errorf("%d splits, %v", len(splits), err)
	}
}

// A damaged file must be refused or taken as one piece, never crash the one who cuts it.
func FuzzZstdFrames(f *testing.F) {
	text := strings.Repeat("hello ", 50)
	f.Add([]byte(zst(text, 40)))
	f.Add([]byte(seekable(text, 40, true)))
	f.Add([]byte(streamed(text)))
	f.Fuzz(func(t *testing.T, data []byte) {
		r := strings.NewReader(string(data))
		table, ok, err := seekTable(r, r.Size())
		if err == nil && ok && len(table) > 0 && table[len(table)-1].at > r.Size() {
			t.Errorf("a frame at %d of %d bytes", table[len(table)-1].at, r.Size())
		}
		if frames, err := scanFrames(r, r.Size()); err == nil && len(frames) > len(data)/4 {
			t.Errorf("%d frames in %d bytes", len(frames), len(data))
		}
	})
}

// TestDamagedCompression holds that compressed files which are cut off, damaged or not what their
// name says end in an error that says so.
func TestDamagedCompression(t *testing.T) {
	var text strings.Builder
	for i := range 50_000 {
		fmt.Fprintln(&text, i*i)
	}
	content := map[string]string{"plain.gz": "no gzip at all\n"}
	for name, whole := range map[string]string{"a.gz": gz(text.String()), "a.zst": zst(text.String(), 1<<20)} {
		bent := []byte(whole)
		bent[len(bent)/2] ^= 0x10
		content["cut-"+name], content["bent-"+name] = whole[:len(whole)/2], string(bent)
	}
	tree(t, content)
	for name := range content {
		want := ""
		switch filepath.Ext(name) {
		case ".zst":
			want = " zstd data is damaged, or the file was cut off"
		case ".gz":
			want = " gzip data is damaged, or the file was cut off"
		}
		if name == "plain.gz" {
			want = "plain.gz: its name has a gzip suffix, but it is not a gzip file"
		}
		if err := readLines(t, name); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), name+": ") {
			t.Errorf("%s: %v, want an error with %q", name, err, want)
		}
	}
}

// TestSeekTableThatLies holds that a seek table which does not fit its frames ends in an error,
// whatever it says: pieces that were cut by it would lack records, or have some twice.
func TestSeekTableThatLies(t *testing.T) {
	var text strings.Builder
	for i := range 400 {
		fmt.Fprintln(&text, i*i)
	}
	for _, sizes := range []bool{true, false} { // whether frames state their sizes
		for d := -12; d <= 12; d++ {
			if testing.Short() && d%4 != 0 {
				continue
			}
			whole := []byte(seekable(text.String(), 500, false))
			if !sizes {
				whole = nil
				table, n := []byte(nil), 0
				for s := text.String(); s != ""; n++ {
					k := min(500, len(s))
					f := streamed(s[:k])
					whole, s = append(whole, f...), s[k:]
					table = binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(table, uint32(len(f))), uint32(k))
				}
				whole = binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(whole, seekableFrame), uint32(len(table)+9))
				whole = append(binary.LittleEndian.AppendUint32(append(whole, table...), uint32(n)), 0, 0xb1, 0xea, 0x92, 0x8f)
			}
			second := whole[len(whole)-9-8*int(binary.LittleEndian.Uint32(whole[len(whole)-9:]))+12:] // the size of what the second frame holds
			binary.LittleEndian.PutUint32(second, binary.LittleEndian.Uint32(second)+uint32(d))
			tree(t, map[string]string{"a.zst": string(whole)})
			fs, err := Expand(t.Context(), []string{"a.zst"})
			if err != nil {
				t.Fatal(err)
			}
			splits, err := Splits(t.Context(), fs, 400)
			if err != nil || len(splits) < 4 {
				t.Fatal(len(splits), err)
			}
			for name, read := range map[string]func(job.Split, func(Chunk) error) error{
				"lines":  func(s job.Split, yield func(Chunk) error) error { return Chunks(t.Context(), s, '\n', yield) },
				"blocks": func(s job.Split, yield func(Chunk) error) error { return Blocks(t.Context(), s, 1, yield) },
			} {
				var got strings.Builder
				var bad error
				for _, s := range splits {
					if err := read(s, func(c Chunk) error { got.Write(c.Data); return nil }); err != nil && bad == nil {
						bad = err
					}
				}
				switch {
				case d == 0 && (bad != nil || got.String() != text.String()):
					t.Errorf("%s, sizes %v: %v, %d of %d bytes", name, sizes, bad, got.Len(), text.Len())
				case d != 0 && (bad == nil || !strings.Contains(bad.Error(), "its seek table does not fit its frames")):
					t.Errorf("%s, sizes %v, table off by %d: %v, %d of %d bytes", name, sizes, d, bad, got.Len(), text.Len())
				}
			}
		}
	}
}

func readLines(t *testing.T, name string) error {
	t.Helper()
	fs, err := Expand(t.Context(), []string{name})
	if err != nil {
		return err
	}
	splits, err := Splits(t.Context(), fs, 0)
	if err != nil {
		return err
	}
	for _, s := range splits {
		if err := Chunks(t.Context(), s, '\n', func(Chunk) error { return nil }); err != nil {
			return err
		}
	}
	return nil
}
