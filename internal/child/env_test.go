package child_test

import (
	"slices"
	"testing"

	"github.com/layshaft/layshaft/internal/child"
)

func TestEnvironment(t *testing.T) {
	for name, value := range map[string]string{"LAYSHAFT_GOSSIP_KEY": "secret", "DATABASE_PASSWORD": "secret", "AWS_REGION": "r", "LAYSHAFT_S3_ENDPOINT": "e", "LC_TIME": "C", "MODEL": "m", "MODEL_DIR": "d"} {
		t.Setenv(name, value)
	}
	env := child.Environment(nil)
	for v, want := range map[string]bool{"LAYSHAFT_GOSSIP_KEY=secret": false, "DATABASE_PASSWORD=secret": false, "MODEL=m": false,
		"AWS_REGION=r": true, "LAYSHAFT_S3_ENDPOINT=e": true, "LC_TIME=C": true} {
		if slices.Contains(env, v) != want {
			t.Errorf("%s is there: %v, want %v", v, !want, want)
		}
	}
	if env = child.Environment([]string{"MODEL"}); !slices.Contains(env, "MODEL=m") || slices.Contains(env, "MODEL_DIR=d") {
		t.Errorf("with MODEL: %q", env)
	}
	if env = child.Environment([]string{"MODEL*"}); !slices.Contains(env, "MODEL_DIR=d") {
		t.Errorf("with MODEL*: %q", env)
	}
}
