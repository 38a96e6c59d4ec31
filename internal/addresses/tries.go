package addresses

import (
	"encoding/json"
	"maps"
	"sync"

	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/balancer/pickfirst"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/serviceconfig"
)

// gRPC's balancer pick_first does all the work of a Conn: it tries addresses one after another, the
// next one after 250 ms at the latest, and keeps the first connection. It reports one error for all
// addresses, though. This package's balancer is pick_first with a record of each address's error.

// tries is the record of one Conn.
type tries struct {
	ready func() // called when there is a connection

	// mu guards the fields below.
	mu     sync.Mutex
	using  string           // the address of the connection; empty without one
	failed map[string]error // the last error of each address since the last connection
	// mismatches has the results of Mismatch for errors that were explained before.
	mismatches map[string]explained
}

type explained struct{ err, why error }

// record stores a change of the connection to an address.
func (t *tries) record(address string, s balancer.SubConnState) {
	if s.ConnectivityState == connectivity.Ready {
		defer t.ready()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch s.ConnectivityState {
	case connectivity.Ready:
		t.using, t.failed, t.mismatches = address, nil, nil
		return
	case connectivity.TransientFailure:
		if t.failed == nil {
			t.failed = map[string]error{}
		}
		t.failed[address] = s.ConnectionError
	}
	if t.using == address {
		t.using = ""
	}
}

// last returns the address in use, and the last error of each address.
func (t *tries) last() (using string, failed map[string]error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.using, maps.Clone(t.failed)
}

// mismatch returns what explain returned for the same error of an address before, or calls it.
func (t *tries) mismatch(address string, err error, explain func() error) error {
	t.mu.Lock()
	known, ok := t.mismatches[address]
	t.mu.Unlock()
	if ok && known.err.Error() == err.Error() {
		return known.why
	}
	why := explain()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.mismatches == nil {
		t.mismatches = map[string]explained{}
	}
	t.mismatches[address] = explained{err, why}
	return why
}

const (
	policy        = "layshaft_pick_first"
	serviceConfig = `{"loadBalancingConfig": [{"` + policy + `": {}}]}`
)

// triesKey is the key of a Conn's tries among the attributes of its addresses.
type triesKey struct{}

func init() { balancer.Register(builder{}) } // gRPC has no other way

type builder struct{}

func (builder) Name() string { return policy }

func (builder) ParseConfig(json.RawMessage) (serviceconfig.LoadBalancingConfig, error) {
	return nil, nil
}

func (builder) Build(cc balancer.ClientConn, o balancer.BuildOptions) balancer.Balancer {
	r := &recorder{ClientConn: cc}
	return &recording{balancer.Get(pickfirst.Name).Build(r, o), r}
}

// recording is pick_first with a recorder.
type recording struct {
	balancer.Balancer
	recorder *recorder
}

func (b *recording) UpdateClientConnState(s balancer.ClientConnState) error {
	b.recorder.tries, _ = s.ResolverState.Attributes.Value(triesKey{}).(*tries)
	s.BalancerConfig = nil
	return b.Balancer.UpdateClientConnState(s)
}

// recorder passes the changes of pick_first's connections to tries.
type recorder struct {
	balancer.ClientConn
	tries *tries // always the same; set before the first connection
}

func (r *recorder) NewSubConn(to []resolver.Address, o balancer.NewSubConnOptions) (balancer.SubConn, error) {
	listen := o.StateListener
	o.StateListener = func(s balancer.SubConnState) {
		r.tries.record(to[0].Addr, s)
		listen(s)
	}
	//lint:ignore SA1019 the connections of a balancer can be seen nowhere else
	return r.ClientConn.NewSubConn(to, o)
}
