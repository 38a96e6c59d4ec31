package remote

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/layshaft/layshaft/internal/filesys"
	layshaftv1 "github.com/layshaft/layshaft/proto/layshaft/v1"
)

// A Lender answers only for lent files.
func TestLenderRefuses(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	t.Chdir(dir)
	put(t, "in/a.txt", "a")
	put(t, "in/secret.txt", "s")
	put(t, "out/mine.txt", "m")
	put(t, "out/.layshaft-j/part", "p")
	if err := os.Symlink(dir, "out/.layshaft-link"); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(dir+"/in/secret.txt", "in/link.txt"); err != nil {
		t.Fatal(err)
	}
	l, err := NewLender("me")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	set := l.Files()
	for _, p := range []string{"in/a.txt", dir + "/in/link.txt"} {
		if path, err := set[""].(filesys.Lender).Lend(p); err != nil || path != "client://me"+dir+"/in/"+filepath.Base(p) {
			t.Fatal(path, err)
		}
	}
	if err := set[""].(filesys.Lender).LendDir("out", ".layshaft-"); err != nil {
		t.Fatal(err)
	}
	if got, err := get(set["client"], "client://me"+dir+"/in/a.txt"); got != "a" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	home := ClientFS(far{l}, "me")
	for _, p := range []string{"in/a.txt", "in/../in/a.txt", dir + "/in/a.txt", "in/link.txt", "out/.layshaft-j/part"} {
		if _, err := get(home, p); err != nil {
			t.Error(err)
		}
	}
	for _, p := range []string{"in/secret.txt", "in", ".", "/etc/passwd", "in/a.txt/../secret.txt", "out/mine.txt", "out", "out/.layshaft-j/../mine.txt",
		"out/.layshaft-link/in/secret.txt", "out/.layshaft-j/../../in/secret.txt", dir + "/out/../in/secret.txt"} {
		if _, err := get(home, p); err == nil || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s can be read: %v", p, err)
		}
		if _, err := home.Create(ctx, p); err == nil {
			t.Errorf("%s can be written", p)
		}
		if err := home.RemoveAll(ctx, p); err == nil {
			t.Errorf("%s can be removed", p)
		}
		if err := home.Rename(ctx, "out/.layshaft-j/part", p); err == nil {
			t.Errorf("something can be renamed to %s", p)
		}
		if err := home.MkdirAll(ctx, p+"/x"); err == nil {
			t.Errorf("%s/x can be made", p)
		}
	}
	for _, p := range []string{"in/a.txt", "in/link.txt"} {
		if _, err := home.Create(ctx, p); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("%s can be written: %v", p, err)
		}
		if err := home.Remove(ctx, p); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("%s can be removed: %v", p, err)
		}
	}
	if _, err := home.Glob(ctx, "in/*"); !errors.Is(err, fs.ErrPermission) {
		t.Error(err)
	}
	if _, err := Client(l).Stat(ctx, "client://other"+dir+"/in/a.txt"); !errors.Is(err, fs.ErrInvalid) {
		t.Error(err)
	}
}

// No call to a lender or a volume can read or change anything outside.
func FuzzNoEscape(f *testing.F) {
	for _, s := range []string{"../secret", "..", "/", "a/../../secret", "link/secret", "./..//secret", "in/\x00", "in", "", "*", "**/../*", "link/*"} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, name, to string) {
		top := t.TempDir()
		put(t, top+"/secret", "secret")
		put(t, top+"/in/a", "a")
		os.Symlink(top, top+"/in/link")
		v, err := OpenVolume(top+"/in", "w1", Unlimited)
		if err != nil {
			t.Fatal(err)
		}
		defer v.Close()
		l, err := NewLender("me")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		l.dir = top
		if err := l.Files()[""].(filesys.Lender).LendDir(top+"/in", ""); err != nil {
			t.Fatal(err)
		}
		for _, n := range []string{name, top + "/in/" + name} {
			for _, op := range []*layshaftv1.CallRequest{
				{Operation: &layshaftv1.CallRequest_List{List: &layshaftv1.ListFiles{}}},
				{Operation: &layshaftv1.CallRequest_List{List: &layshaftv1.ListFiles{Entries: true}}},
				{Operation: &layshaftv1.CallRequest_Stat{}},
				{Operation: &layshaftv1.CallRequest_Read{Read: &layshaftv1.ReadFile{Length: 100}}},
				{Operation: &layshaftv1.CallRequest_Write{Write: &layshaftv1.WriteFile{Data: []byte("changed")}}},
				{Operation: &layshaftv1.CallRequest_MakeDir{}},
				{Operation: &layshaftv1.CallRequest_Rename{Rename: &layshaftv1.RenameFile{To: to}}},
				{Operation: &layshaftv1.CallRequest_Rename{Rename: &layshaftv1.RenameFile{To: "new"}}},
				{Operation: &layshaftv1.CallRequest_Remove{Remove: &layshaftv1.RemoveFile{All: true}}},
			} {
				op.Volume, op.Name = "client/me", n
				for _, c := range []Caller{v, l} {
					resp, err := c.Call(context.Background(), op)
					if err != nil {
						t.Fatal(err)
					}
					if strings.Contains(string(resp.Data), "secret") {
						t.Errorf("%T: %v reads what is outside", c, op)
					}
					for _, i := range resp.Infos {
						if strings.HasSuffix(i.Name, "secret") && i.Size == 6 {
							t.Errorf("%T: %v tells of %v", c, op, i)
						}
					}
				}
				if data, err := os.ReadFile(top + "/secret"); err != nil || string(data) != "secret" {
					t.Fatalf("%v changed what is outside: %q, %v", op, data, err)
				}
				if entries, err := os.ReadDir(top); err != nil || len(entries) != 2 {
					t.Fatalf("%v to %q: %v, %v", op, to, entries, err)
				}
			}
		}
	})
}
