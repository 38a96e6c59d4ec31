package node

import (
	"bytes"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/layshaft/layshaft/internal/security"
	"github.com/layshaft/layshaft/internal/wire"
)

// fullListener fails every second Accept for lack of file descriptors.
type fullListener struct {
	net.Listener
	n int
}

func (l *fullListener) Accept() (net.Conn, error) {
	if l.n++; l.n%2 == 1 {
		return nil, &net.OpError{Op: "accept", Net: "tcp", Err: os.NewSyscallError("accept4", syscall.EMFILE)}
	}
	return l.Listener.Accept()
}

// Clients of a process without file descriptors get the reason, and its log has one line.
func TestRefusesWithoutFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ca")
	if err := security.InitCA(dir); err != nil {
		t.Fatal(err)
	}
	cert, key, err := security.Issue(dir, security.Request{Role: security.Coordinator, Name: "c"})
	if err != nil {
		t.Fatal(err)
	}
	own, err := security.Load(security.Files{CA: filepath.Join(dir, "ca.pem"), Cert: cert, Key: key}, nil)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(address string, creds credentials.TransportCredentials) string {
		conn, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(creds))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_, err = grpc_health_v1.NewHealthClient(conn).Check(t.Context(), nil)
		if why := wire.Mismatch(t.Context(), err, address, wire.Plain(creds)); why != nil {
			return why.Error() // the client would not try again
		}
		return wire.Unreachable(address, err).Error()
	}
	for _, tt := range []struct {
		name, answer, want string
		tls                *security.TLS
		ask                func(address string) string
	}{
		{"gRPC", grpcBusy, "coordinator 127.0.0.1:", nil, func(a string) string { return ask(a, insecure.NewCredentials()) }},
		{"gRPC with TLS", grpcBusy, "coordinator 127.0.0.1:", own, func(a string) string {
			return ask(a, credentials.NewTLS(&tls.Config{InsecureSkipVerify: true}))
		}},
		{"HTTP", httpBusy, "503 Service Unavailable: ", nil, func(a string) string {
			r, err := http.Get("http://" + a)
			if err != nil {
				return err.Error()
			}
			defer r.Body.Close()
			b, _ := io.ReadAll(r.Body)
			return r.Status + ": " + string(b)
		}},
		{"Gearman", gearmanBusy, "\x00RES\x00\x00\x00\x13", nil, func(a string) string {
			c, err := net.Dial("tcp", a)
			if err != nil {
				return err.Error()
			}
			defer c.Close()
			b, _ := io.ReadAll(c)
			return string(b)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var log bytes.Buffer
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			c := Common{Log: slog.New(slog.NewTextHandler(&log, nil))}
			full := c.answerWhenFull(&ports{tls: tt.tls}, &fullListener{Listener: l}, tt.answer, "h2")
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				_, _ = full.Accept()
			}()
			for range 3 {
				if got := tt.ask(l.Addr().String()); !strings.HasPrefix(got, tt.want) || !strings.Contains(got, "file descriptors") {
					t.Errorf("%q, want %q and the reason", got, tt.want)
				}
			}
			l.Close()
			<-ended
			if n := strings.Count(log.String(), "\n"); n != 1 || !strings.Contains(log.String(), "out of file descriptors") || !strings.Contains(log.String(), "limit=") {
				t.Errorf("%d lines, want one:\n%s", n, &log)
			}
		})
	}
}

// lateConn returns from its first Read long after every deadline, as on a busy machine.
type lateConn struct{ net.Conn }

func (c lateConn) Read(b []byte) (int, error) {
	time.Sleep(10 * time.Second)
	return c.Conn.Read(b)
}

// A busy machine, where the server runs again after its deadlines, does not cost the client its
// answer.
func TestRefusesOnBusyMachine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		l := &patientListener{answer: gearmanBusy}
		go l.refuse(lateConn{server})
		if b, err := io.ReadAll(client); string(b) != gearmanBusy {
			t.Errorf("%q, %v, want the reason", b, err)
		}
	})
}

func TestCheckFiles(t *testing.T) {
	for limit, warns := range map[uint64]bool{0: false, 256: true, fewFiles - 1: true, fewFiles: false, 1 << 20: false} {
		var log bytes.Buffer
		checkFiles(limit, slog.New(slog.NewTextHandler(&log, nil)))
		if warned := strings.Contains(log.String(), "few file descriptors"); warned != warns {
			t.Errorf("limit %d: log %q", limit, &log)
		}
	}
}
