package files

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"testing"
)

// The error for a file that does not exist names one with a similar name.
func TestSimilarFile(t *testing.T) {
	tree(t, map[string]string{"sample/products.csv": "a\n", "sample/z": "a\n"})
	for path, want := range map[string]string{
		"sample/product.csv":   "sample/product.csv: no such file or directory; did you mean sample/products.csv?",
		"sample/PRODUCTS.csv":  "did you mean sample/products.csv?",
		"sample/orders.csv":    "the path counts from",
		"sample/product*.json": "check the path",
		"nowhere/products.csv": "the path counts from",
		"-explain":             "flags must be in front of the files",
	} {
		_, err := Expand(context.Background(), []string{path})
		if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", path, err, want)
		}
	}
}
