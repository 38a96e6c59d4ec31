package node

import (
	"errors"
	"strings"
	"testing"

	"github.com/layshaft/layshaft/coordinator/replica"
)

// A coordinator without a leader explains why. It never names itself as the leader that it misses,
// also while others follow a former one.
func TestStale(t *testing.T) {
	at := func(address, follows string) replica.Surveyed {
		return replica.Surveyed{Member: replica.Member{Address: address, Voter: true}, Follows: follows}
	}
	away := at("c3:1", "")
	away.Err = errors.New("connection refused")
	for _, tt := range []struct {
		name string
		all  []replica.Surveyed
		want string
	}{
		{"elected, as it knows", []replica.Surveyed{at("c1:1", ""), at("c2:1", "c2:1"), away}, "coordinator c2:1 was elected just now and takes over"},
		{"elected, as another one knows", []replica.Surveyed{at("c1:1", "c2:1"), at("c2:1", ""), away}, "coordinator c2:1 was elected just now and takes over"},
		{"elected, and one follows a former leader", []replica.Surveyed{at("c1:1", "c3:1"), at("c2:1", "c2:1"), away}, "coordinator c2:1 was elected just now and takes over"},
		{"cut off", []replica.Surveyed{at("c1:1", "c1:1"), at("c2:1", ""), at("c3:1", "c1:1")}, "coordinator c2:1 does not hear from the leader, c1:1"},
		{"election", []replica.Surveyed{at("c1:1", ""), at("c2:1", ""), away}, "no coordinator leads at the moment"},
	} {
		if got := (&members{r: &replica.Replica{}, address: "c2:1"}).stale(tt.all); !strings.HasPrefix(got, tt.want) {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}
