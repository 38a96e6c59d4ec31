package security

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/layshaft/layshaft/internal/wire"
	_ "github.com/layshaft/layshaft/proto/layshaft/runner/v1" // its methods are in the table
	_ "github.com/layshaft/layshaft/proto/layshaft/tasks/v1"  // likewise
	layshaftv1 "github.com/layshaft/layshaft/proto/layshaft/v1"
)

// ca makes a CA with a certificate for each role.
func ca(t *testing.T) (dir string, files map[Role]Files) {
	t.Helper()
	dir, files = filepath.Join(t.TempDir(), "ca"), map[Role]Files{}
	if err := InitCA(dir); err != nil {
		t.Fatal(err)
	}
	for _, r := range Roles {
		files[r] = issue(t, dir, Request{Role: r, Name: "n1"})
	}
	return dir, files
}

func issue(t *testing.T, dir string, r Request) Files {
	t.Helper()
	cert, key, err := Issue(dir, r)
	if err != nil {
		t.Fatal(err)
	}
	return Files{CA: filepath.Join(dir, caCert), Cert: cert, Key: key}
}

func load(t *testing.T, f Files) *TLS {
	t.Helper()
	c, err := Load(f, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestKeysAreSecret(t *testing.T) {
	dir, _ := ca(t)
	keys := 0
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(e.Name(), keyEnd) {
			keys++
			if info.Mode() != 0o600 {
				t.Errorf("%s has mode %v, want 0600", e.Name(), info.Mode())
			}
		}
	}
	if keys != 5 {
		t.Errorf("%d keys, want 5", keys)
	}
}

func TestIssueRefuses(t *testing.T) {
	dir, _ := ca(t)
	tests := []struct {
		dir  string
		r    Request
		want string
	}{
		{t.TempDir(), Request{Role: Worker, Name: "a"}, "layshaft cert init"},
		{dir, Request{Role: "admin", Name: "a"}, `"admin"`},
		{dir, Request{Role: Worker}, `name ""`},
		{dir, Request{Role: Worker, Name: "../a"}, `"../a"`},
		{dir, Request{Role: Worker, Name: "a", Validity: -1}, "negative"},
		{dir, Request{Role: Client, Name: "a", Hosts: []string{"h"}}, "no process connects"},
		{dir, Request{Role: Worker, Name: "a", Hosts: []string{"Coordinator.layshaft."}}, "stand for roles"},
		{dir, Request{Role: Worker, Name: "n1"}, "exists"},
	}
	for _, tt := range tests {
		if _, _, err := Issue(tt.dir, tt.r); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("Issue(%+v): want an error with %q, got %v", tt.r, tt.want, err)
		}
	}
	if err := InitCA(dir); err == nil {
		t.Error("a second InitCA replaced the CA")
	}
}

// handshake connects two ends and returns what each says of the other.
func handshake(t *testing.T, server, client credentials.TransportCredentials) (seen credentials.AuthInfo, serverErr, clientErr error) {
	t.Helper()
	lis := bufconn.Listen(1 << 16)
	defer lis.Close()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		here, err := lis.Accept()
		if err != nil {
			serverErr = err
			return
		}
		_, seen, serverErr = server.ServerHandshake(here)
		if serverErr != nil {
			_ = here.Close()
		}
	}()
	there, err := lis.DialContext(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c, _, clientErr := client.ClientHandshake(t.Context(), "elsewhere:1", there)
	if clientErr != nil {
		_ = there.Close()
	}
	<-ended
	if clientErr == nil && serverErr != nil { // in TLS 1.3 the client hears of it when it reads
		_, clientErr = c.Read(make([]byte, 1))
	}
	return seen, serverErr, clientErr
}

func TestHandshakes(t *testing.T) {
	_, files := ca(t)
	_, others := ca(t)
	creds := func(f map[Role]Files, r Role) *TLS { return load(t, f[r]) }
	tests := []struct {
		name           string
		server, client credentials.TransportCredentials
		ok             bool
	}{
		{"client and coordinator", creds(files, Coordinator).Server(), creds(files, Client).Client(Coordinator), true},
		{"worker and worker", creds(files, Worker).Server(), creds(files, Worker).Client(Worker), true},
		{"a worker that claims to be a coordinator", creds(files, Worker).Server(), creds(files, Client).Client(Coordinator), false},
		{"a reader that serves", creds(files, Reader).Server(), creds(files, Client).Client(Coordinator, Worker, Reader), false},
		{"a client of another CA", creds(files, Coordinator).Server(), creds(others, Client).Client(Coordinator), false},
		{"a coordinator of another CA", creds(others, Coordinator).Server(), creds(files, Client).Client(Coordinator), false},
		{"a client without certificate", creds(files, Coordinator).Server(), credentials.NewTLS(&tls.Config{InsecureSkipVerify: true}), false},
		{"TLS 1.2", creds(files, Coordinator).Server(), credentials.NewTLS(&tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12}), false},
		{"plain text", creds(files, Coordinator).Server(), insecure.NewCredentials(), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.name == "plain text" {
				conn := serve(t, tt.server, nil)
				if _, err := call(conn, insecure.NewCredentials(), "/layshaft.v1.CoordinatorService/ListJobs"); status.Code(err) != codes.Unavailable {
					t.Errorf("a call in plain text got %v", err)
				}
				return
			}
			seen, serverErr, clientErr := handshake(t, tt.server, tt.client)
			if ok := serverErr == nil && clientErr == nil; ok != tt.ok {
				t.Errorf("server: %v; client: %v; want ok = %v", serverErr, clientErr, tt.ok)
			}
			if tt.ok && seen.(credentials.TLSInfo).State.Version != tls.VersionTLS13 {
				t.Error("not TLS 1.3")
			}
		})
	}
}

func TestExpiredCertificateIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, files := ca(t)
		short := load(t, issue(t, dir, Request{Role: Client, Name: "short", Validity: time.Hour}))
		server := load(t, files[Coordinator])
		if _, serverErr, clientErr := handshake(t, server.Server(), short.Client(Coordinator)); serverErr != nil || clientErr != nil {
			t.Fatal(serverErr, clientErr)
		}
		time.Sleep(2 * time.Hour)
		_, serverErr, clientErr := handshake(t, server.Server(), short.Client(Coordinator))
		why := wire.Mismatch(t.Context(), clientErr, "c1:7070", false)
		if serverErr == nil || why == nil || !strings.Contains(why.Error(), "c1:7070: certificate not in force: the certificate "+short.files.Cert+" of this process expired on ") {
			t.Errorf("an expired certificate: server %v; client %v, explained as %v, want the file and the date", serverErr, clientErr, why)
		}
		if _, err := Load(short.files, nil); err == nil || !strings.Contains(err.Error(), short.files.Cert+" of this process expired on") {
			t.Errorf("Load of an expired certificate: %v", err)
		}
	})
}

// An expired server is named with its date at the client, and an expired client in the server's log.
func TestExpiredPeerIsNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, files := ca(t)
		short := load(t, issue(t, dir, Request{Role: Worker, Name: "short", Validity: time.Hour}))
		var log bytes.Buffer
		long, err := Load(files[Worker], slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Hour)
		const want = "the certificate of worker/short at the other end expired on"
		if _, _, err := handshake(t, short.Server(), long.Client(Worker)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("client: %v, want %q", err, want)
		}
		log.Reset()
		time.Sleep(time.Hour)
		stale := credentials.NewTLS(&tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{short.now.cert}})
		if _, err, _ := handshake(t, long.Server(), stale); err == nil || !strings.Contains(log.String(), want) {
			t.Errorf("server: %v, log %q, want %q", err, &log, want)
		}
	})
}

// A CA that ends is named in place of the certificates that it signed: new ones would not help.
func TestExpiredCAIsNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, _ := ca(t)
		time.Sleep(caValidity - 10*24*time.Hour)
		renewed := issue(t, dir, Request{Role: Worker, Name: "late"})
		var log bytes.Buffer
		own, err := Load(renewed, slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		peer := load(t, issue(t, dir, Request{Role: Coordinator, Name: "late"}))
		if got := own.Notice(); !strings.HasPrefix(got, "the CA of this cluster in "+renewed.CA+" ends on ") || !strings.Contains(got, "layshaft cert init") ||
			!strings.Contains(log.String(), "the CA of this cluster ends soon") {
			t.Errorf("notice %q, log %s", got, &log)
		}
		time.Sleep(11 * 24 * time.Hour)
		log.Reset()
		_, serverErr, clientErr := handshake(t, peer.Server(), own.Client(Coordinator))
		if serverErr == nil || clientErr == nil || !strings.Contains(clientErr.Error(), notInForce+"the CA Layshaft CA ") || !strings.Contains(log.String(), "the CA of this cluster has expired") {
			t.Errorf("server: %v; client: %v; log %s", serverErr, clientErr, &log)
		}
		log.Reset()
		_, err, _ = handshake(t, own.Server(), credentials.NewTLS(&tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{peer.now.cert}}))
		if err == nil || !strings.Contains(err.Error(), "which signed the certificate of coordinator/late at the other end, expired on") {
			t.Errorf("server: %v", err)
		}
		for what, err := range map[string]error{"Load": func() error { _, err := Load(renewed, nil); return err }(),
			"Issue": func() error { _, _, err := Issue(dir, Request{Role: Worker, Name: "later"}); return err }()} {
			if err == nil || !strings.Contains(err.Error(), "the CA ") || !strings.Contains(err.Error(), "layshaft cert init -dir NEW") {
				t.Errorf("%s: %v", what, err)
			}
		}
		// With another CA beside it, and a new certificate, all works.
		fresh, _ := ca(t)
		f := issue(t, fresh, Request{Role: Worker, Name: "late"})
		both, err := os.ReadFile(renewed.CA)
		if err != nil {
			t.Fatal(err)
		}
		second, err := os.ReadFile(f.CA)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(f.CA, append(both, second...), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := load(t, f).Notice(); got != "" {
			t.Errorf("notice %q", got)
		}
	})
}

// sharedLog is a log that one goroutine writes and another one reads.
type sharedLog struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *sharedLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

// take returns what was written since the last call.
func (l *sharedLog) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.buf.Reset()
	return l.buf.String()
}

// A process without new connections warns and renews on a timer.
func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, _ := ca(t)
		var log sharedLog
		c, err := Load(issue(t, dir, Request{Role: Worker, Name: "w", Validity: 15 * 24 * time.Hour}), slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		go c.Watch(ctx)
		for _, step := range []struct {
			after           time.Duration
			logged, noticed string
		}{
			{time.Hour, "", ""},
			{25 * time.Hour, "ends soon", " ends on "},
			{14 * 24 * time.Hour, "has expired", " expired on "},
		} {
			time.Sleep(step.after)
			synctest.Wait()
			if got := log.take(); !strings.Contains(got, step.logged) || step.logged == "" && got != "" {
				t.Errorf("after %v: log %q, want %q", step.after, got, step.logged)
			}
			if got := c.Notice(); !strings.Contains(got, step.noticed) || step.noticed == "" && got != "" {
				t.Errorf("after %v: notice %q, want %q", step.after, got, step.noticed)
			}
		}
		cancel()
		synctest.Wait()
	})
}

func TestRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, files := ca(t)
		f := issue(t, dir, Request{Role: Client, Name: "c", Validity: time.Hour})
		var log bytes.Buffer
		client, err := Load(f, slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		server := load(t, files[Coordinator])
		greet := func() error {
			_, serverErr, clientErr := handshake(t, server.Server(), client.Client(Coordinator))
			return errors.Join(serverErr, clientErr)
		}
		replace := func(f Files, content []byte) {
			t.Helper()
			if err := os.WriteFile(f.Cert, content, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(f.Cert, time.Now(), time.Now()); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(50 * time.Minute)
		replace(f, []byte("half written"))
		if err := greet(); err != nil {
			t.Errorf("the former certificate did not stay: %v", err)
		}
		if !strings.Contains(log.String(), "not renewed") {
			t.Errorf("log says nothing of the broken file: %s", &log)
		}
		for _, path := range []string{f.Cert, f.Key} {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		}
		issue(t, dir, Request{Role: Client, Name: "c", Validity: 24 * time.Hour})
		time.Sleep(time.Hour)
		if err := greet(); err != nil {
			t.Errorf("the new certificate is not used: %v", err)
		}
		other, err := os.ReadFile(files[Client].Cert)
		if err != nil {
			t.Fatal(err)
		}
		replace(f, other)
		time.Sleep(time.Hour)
		if err := greet(); err != nil || client.Identity() != (Identity{Client, "c"}) {
			t.Errorf("another's certificate was taken: %v, %v", client.Identity(), err)
		}
	})
}

func TestLoadRefuses(t *testing.T) {
	_, files := ca(t)
	_, others := ca(t)
	f := files[Worker]
	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		files Files
		want  string
	}{
		{Files{}, "-tls-ca is missing"},
		{Files{CA: f.CA, Cert: f.Cert}, "-tls-key is missing"},
		{Files{CA: "missing.pem", Cert: f.Cert, Key: f.Key}, "missing.pem"},
		{Files{CA: text, Cert: f.Cert, Key: f.Key}, "no certificate"},
		{Files{CA: f.CA, Cert: text, Key: f.Key}, text},
		{Files{CA: f.CA, Cert: f.Cert, Key: files[Client].Key}, files[Client].Key},
		{Files{CA: others[Worker].CA, Cert: f.Cert, Key: f.Key}, "unknown authority"},
		{Files{CA: f.CA, Cert: f.CA, Key: filepath.Join(filepath.Dir(f.CA), caKey)}, "has no role"},
	}
	for _, tt := range tests {
		if _, err := Load(tt.files, nil); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("Load(%+v): want an error with %q, got %v", tt.files, tt.want, err)
		}
	}
}

// serve answers UNIMPLEMENTED to whatever is called.
func serve(t *testing.T, creds credentials.TransportCredentials, authorize func(context.Context, string) error) *bufconn.Listener {
	lis := bufconn.Listen(1 << 20)
	unknown := func(any, grpc.ServerStream) error { return status.Error(codes.Unimplemented, "nothing here") }
	s := grpc.NewServer(append(wire.ServerOptions(slog.New(slog.DiscardHandler), authorize), grpc.Creds(creds), grpc.UnknownServiceHandler(unknown))...)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = s.Serve(lis)
	}()
	t.Cleanup(func() {
		s.Stop()
		<-ended
	})
	return lis
}

// call calls a method as a stream of one empty message, which suits all kinds.
func call(lis *bufconn.Listener, creds credentials.TransportCredentials, method string) (grpc.ClientStream, error) {
	conn, err := grpc.NewClient("passthrough:bufconn", grpc.WithTransportCredentials(creds),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return lis.DialContext(ctx) }))
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, method)
	if err != nil {
		return nil, err
	}
	if err := stream.SendMsg(&layshaftv1.BackupRequest{}); err == nil {
		_ = stream.CloseSend()
	}
	return stream, stream.RecvMsg(&layshaftv1.BackupResponse{})
}

// schema returns the full names of all methods of the schema.
func schema() (all []string) {
	protoregistry.GlobalFiles.RangeFiles(func(f protoreflect.FileDescriptor) bool {
		if !strings.HasPrefix(f.Path(), "layshaft/") {
			return true
		}
		for i := range f.Services().Len() {
			s := f.Services().Get(i)
			for j := range s.Methods().Len() {
				all = append(all, "/"+string(s.FullName())+"/"+string(s.Methods().Get(j).Name()))
			}
		}
		return true
	})
	return all
}

// Programs that check nothing but the host name of a server know its role from it.
func TestRoleIsAHostName(t *testing.T) {
	_, files := ca(t)
	for _, r := range Roles {
		block, err := readPEM(files[r].Cert, "CERTIFICATE")
		if err != nil {
			t.Fatal(err)
		}
		c, err := x509.ParseCertificate(block)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []Role{Coordinator, Worker} {
			if err := c.VerifyHostname(string(name) + ".layshaft"); (err == nil) != (r == name) {
				t.Errorf("the certificate of a %s for the host %s.layshaft: %v", r, name, err)
			}
		}
	}
}

func TestEveryMethodHasItsRoles(t *testing.T) {
	all := schema()
	if len(all) < 19 {
		t.Fatalf("only %d methods found", len(all))
	}
	for _, m := range all {
		if _, ok := methods[m]; !ok {
			t.Errorf("%s has no entry in the table of methods: say who may call it", m)
		}
	}
	for m, roles := range methods {
		if !slices.Contains(all, m) {
			t.Errorf("%s is not in the schema", m)
		}
		_, name, _ := strings.Cut(m[1:], "/")
		looks := strings.HasPrefix(name, "List") || strings.HasPrefix(name, "Watch") || strings.HasPrefix(name, "Get")
		if slices.Contains(roles, Reader) && !looks {
			t.Errorf("a reader may call %s, which does more than look", m)
		}
	}
}

func TestAuthorize(t *testing.T) {
	_, files := ca(t)
	lis := serve(t, load(t, files[Coordinator]).Server(), Authorize)
	for _, role := range Roles {
		creds := load(t, files[role]).Client(Coordinator)
		for _, m := range append(schema(), "/layshaft.v1.CoordinatorService/Unknown") {
			want := codes.PermissionDenied
			if slices.Contains(methods[m], role) {
				want = codes.Unimplemented
			}
			if _, err := call(lis, creds, m); status.Code(err) != want {
				t.Errorf("%s calls %s: %v, want %v", role, m, err, want)
			}
		}
	}
	plain := serve(t, insecure.NewCredentials(), Authorize)
	if _, err := call(plain, insecure.NewCredentials(), "/layshaft.v1.CoordinatorService/ListJobs"); status.Code(err) != codes.Unauthenticated {
		t.Errorf("a caller without certificate: %v, want Unauthenticated", err)
	}
}

func TestPeerIdentity(t *testing.T) {
	_, files := ca(t)
	var got string
	see := func(ctx context.Context, _ string) error {
		got = PeerIdentity(ctx).String()
		return nil
	}
	_, _ = call(serve(t, load(t, files[Coordinator]).Server(), see), load(t, files[Client]).Client(Coordinator), "/layshaft.v1.CoordinatorService/Backup")
	if got != "client/n1" {
		t.Errorf("identity %q, want client/n1", got)
	}
	_, _ = call(serve(t, insecure.NewCredentials(), see), insecure.NewCredentials(), "/layshaft.v1.CoordinatorService/Backup")
	if got != "bufconn" {
		t.Errorf("identity %q, want the address", got)
	}
	if id := PeerIdentity(t.Context()); id != (Identity{}) {
		t.Errorf("identity %v outside of a call", id)
	}
}

func TestBrowser(t *testing.T) {
	dir, files := ca(t)
	_, others := ca(t)
	withHosts := load(t, issue(t, dir, Request{Role: Coordinator, Name: "web", Hosts: []string{"127.0.0.1", "example.com"}}))
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if got := PeerIdentity(RequestContext(r, true)); got != RequestIdentity(r) {
			t.Errorf("%v, as for gRPC %v", RequestIdentity(r), got)
		}
		_, _ = w.Write([]byte(RequestIdentity(r).Role))
	}))
	server.Listener = tls.NewListener(server.Listener, withHosts.Browser())
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	server.Start()
	defer server.Close()
	get := func(certs ...tls.Certificate) (string, error) {
		tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: withHosts.current().roots, Certificates: certs}}
		defer tr.CloseIdleConnections()
		resp, err := (&http.Client{Transport: tr}).Get(strings.Replace(server.URL, "http:", "https:", 1))
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		var b bytes.Buffer
		_, err = b.ReadFrom(resp.Body)
		return b.String(), err
	}
	if role, err := get(); role != "" || err != nil {
		t.Errorf("a browser without certificate: %q, %v", role, err)
	}
	if role, err := get(load(t, files[Reader]).current().cert); role != "reader" || err != nil {
		t.Errorf("a reader: %q, %v", role, err)
	}
	if _, err := get(load(t, others[Reader]).current().cert); err == nil {
		t.Error("a certificate of another CA was taken")
	}
}

func TestCheckListen(t *testing.T) {
	tests := []struct {
		addr                string
		protected, insecure bool
		ok, loud            bool
	}{
		{"127.0.0.1:7070", false, false, true, false},
		{"127.9.9.9:0", false, false, true, false},
		{"localhost:7070", false, false, true, false},
		{"[::1]:7070", false, false, true, false},
		{":7070", false, false, false, false},
		{"0.0.0.0:7070", false, false, false, false},
		{"[::]:7070", false, false, false, false},
		{"10.0.0.1:7070", false, false, false, false},
		{"localhost.example.com:7070", false, false, false, false},
		{"10.0.0.1:7070", true, false, true, false},
		{"10.0.0.1:7070", false, true, true, true},
		{"10.0.0.1", true, true, false, false},
	}
	for _, tt := range tests {
		var log bytes.Buffer
		err := CheckListen("listen", tt.addr, tt.protected, tt.insecure, "certificates", slog.New(slog.NewTextHandler(&log, nil)))
		if (err == nil) != tt.ok || (log.Len() > 0) != tt.loud {
			t.Errorf("%+v: error %v, log %q", tt, err, &log)
		}
		if err != nil && !strings.Contains(err.Error(), tt.addr) {
			t.Errorf("error does not name %s: %v", tt.addr, err)
		}
	}
}

// A certificate that ends soon is warned about once a day; an expired one is named every minute.
func TestWarnsOfExpiry(t *testing.T) {
	_, files := ca(t)
	var log bytes.Buffer
	c, err := Load(files[Worker], slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	until := c.ValidUntil()
	for _, tt := range []struct {
		at   time.Time
		want string
	}{
		{until.Add(-15 * 24 * time.Hour), ""},
		{until.Add(-13 * 24 * time.Hour), "ends soon"},
		{until.Add(-13*24*time.Hour + time.Hour), ""},
		{until.Add(-12 * 24 * time.Hour), "ends soon"},
		{until.Add(time.Second), "has expired"},
		{until.Add(2 * time.Second), ""},
		{until.Add(2 * time.Minute), "has expired"},
	} {
		log.Reset()
		c.warn(tt.at)
		if got := log.String(); (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) || tt.want != "" && !strings.Contains(got, files[Worker].Cert) {
			t.Errorf("%v before its end: %q, want %q and the file", until.Sub(tt.at), got, tt.want)
		}
	}
}

// A key that every user of the machine can read is refused, of any role and of the CA. A group may
// read it.
func TestOpenKeysAreRefused(t *testing.T) {
	dir, files := ca(t)
	caKeyFile := filepath.Join(dir, caKey)
	paths := map[string]func() error{caKeyFile: func() error {
		cert, key, err := Issue(dir, Request{Role: Client, Name: "fresh"})
		return errors.Join(err, os.RemoveAll(cert), os.RemoveAll(key))
	}}
	for _, f := range files {
		paths[f.Key] = func() error { _, err := Load(f, nil); return err }
	}
	for path, use := range paths {
		for mode, refused := range map[os.FileMode]bool{0o600: false, 0o640: false, 0o644: true, 0o604: true, 0o602: true} {
			if err := os.Chmod(path, mode); err != nil {
				t.Fatal(err)
			}
			if err := use(); (err != nil) != refused || err != nil && !strings.Contains(err.Error(), "chmod o= "+path) {
				t.Errorf("%s with mode %o: %v", path, mode, err)
			}
		}
		if err := os.Chmod(path, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
