//go:build unix

package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var jobID = regexp.MustCompile(`(catalog|wordcount)-[0-9a-f]{12}`)

// TestExplain compares what -explain prints with golden files. Nothing is run: no output appears.
func TestExplain(t *testing.T) {
	dir := t.TempDir()
	shop := filepath.Join(dir, "shop")
	run(t, "catalog", "-generate", "60000", "-dir", shop).succeeded(t)
	if err := os.WriteFile(filepath.Join(dir, "in.txt"), []byte("to be or not to be\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, args := range map[string][]string{
		"wordcount": {filepath.Join(dir, "in.txt")},
		"catalog":   {"-dir", shop},
	} {
		t.Run(name, func(t *testing.T) {
			r := run(t, name, append([]string{"-explain", "-slots", "2", "-memory", "1GiB"}, args...)...).succeeded(t)
			got := jobID.ReplaceAllString(strings.ReplaceAll(r.stdout, dir, "DIR"), "$1-ID")
			got = regexp.MustCompile(`(?m) +$`).ReplaceAllString(regexp.MustCompile(` {2,}`).ReplaceAllString(got, "  "), "") // widths depend on DIR
			golden := filepath.Join("testdata", "explain-"+name+".txt")
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o666); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("%s differs (-update writes it anew); got\n%s", golden, got)
			}
		})
	}
	if parts, _ := filepath.Glob(filepath.Join(shop, "listings", "*")); len(parts) > 0 {
		t.Errorf("-explain wrote %v", parts)
	}
}
