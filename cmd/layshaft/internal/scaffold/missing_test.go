package scaffold

import (
	"strings"
	"testing"
)

func TestMissingInput(t *testing.T) {
	if _, err := head("none.csv"); err == nil || !strings.Contains(err.Error(), "none.csv: there is no such file; name one") {
		t.Error(err)
	}
}
