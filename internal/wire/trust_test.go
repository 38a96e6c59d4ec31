package wire_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http/httptest"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/layshaft/layshaft/internal/wire"
	runnerv1 "github.com/layshaft/layshaft/proto/layshaft/runner/v1"
)

// TestMismatch connects with and without TLS to servers with and without, and where nobody is.
func TestMismatch(t *testing.T) {
	web := httptest.NewTLSServer(nil) // for its certificate
	defer web.Close()
	own := &tls.Config{Certificates: web.TLS.Certificates}
	asks := &tls.Config{Certificates: web.TLS.Certificates, ClientAuth: tls.RequireAnyClientCert}
	serve := func(opts ...grpc.ServerOption) string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		s := grpc.NewServer(opts...)
		go func() { _ = s.Serve(l) }()
		t.Cleanup(s.Stop)
		return l.Addr().String()
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free.Close()
	pages := httptest.NewServer(nil)
	defer pages.Close()
	gearman, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer gearman.Close()
	go func() {
		for {
			conn, err := gearman.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte("OK 1.0\n"))
			_, _ = conn.Read(make([]byte, 100))
			conn.Close()
		}
	}()
	for _, tt := range []struct {
		name, address string
		creds         credentials.TransportCredentials
		want          string
	}{
		{"plain to TLS", serve(grpc.Creds(credentials.NewTLS(own))), insecure.NewCredentials(), "requires TLS"},
		{"plain to TLS that asks for certificates", serve(grpc.Creds(credentials.NewTLS(asks))), insecure.NewCredentials(), "requires TLS"},
		{"TLS to plain", serve(), credentials.NewTLS(&tls.Config{}), "runs without TLS"},
		{"another CA", serve(grpc.Creds(credentials.NewTLS(own))), credentials.NewTLS(&tls.Config{ServerName: "example.com"}), "another CA"},
		{"no certificate", serve(grpc.Creds(credentials.NewTLS(asks))), credentials.NewTLS(&tls.Config{InsecureSkipVerify: true}), "does not accept this certificate"},
		{"a certificate that has expired", serve(grpc.Creds(credentials.NewTLS(asks))), credentials.NewTLS(&tls.Config{InsecureSkipVerify: true,
			GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				return nil, errors.New("certificate not in force: w.pem expired")
			}}), "certificate not in force: w.pem expired"},
		{"plain to HTTP", pages.Listener.Addr().String(), insecure.NewCredentials(), "speaks HTTP"},
		{"TLS to HTTP", pages.Listener.Addr().String(), credentials.NewTLS(&tls.Config{}), "speaks HTTP"},
		{"TLS to HTTPS", web.Listener.Addr().String(), credentials.NewTLS(&tls.Config{InsecureSkipVerify: true}), "speaks HTTP"},
		{"plain to Gearman", gearman.Addr().String(), insecure.NewCredentials(), "speaks the protocol of Gearman"},
		{"nobody there", free.Addr().String(), insecure.NewCredentials(), ""},
		{"plain to plain", serve(), insecure.NewCredentials(), ""},
	} {
		try := func() (got, err error) {
			conn, err := grpc.NewClient(tt.address, grpc.WithTransportCredentials(tt.creds))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_, err = runnerv1.NewRunnerServiceClient(conn).Load(t.Context(), &runnerv1.LoadRequest{}, grpc.WaitForReady(false))
			return wire.Mismatch(context.Background(), err, tt.address, wire.Plain(tt.creds)), err
		}
		got, err := try()
		for n := 0; n < 20 && got == nil && tt.want != ""; n++ {
			// In TLS 1.3 a client may write before it reads the alert, and a broken pipe is all it
			// learns. Clients try again too.
			got, err = try()
		}
		if (got != nil) != (tt.want != "") || got != nil && (errors.Is(got, wire.ErrDistrust) == errors.Is(got, wire.ErrWrongPort) || !strings.Contains(got.Error(), tt.want)) {
			t.Errorf("%s: %v gives %v, want %q", tt.name, err, got, tt.want)
		}
	}
}

// The error for a coordinator out of reach names the cause without the words of gRPC around it.
func TestUnreachableIsPlain(t *testing.T) {
	err := wire.Unreachable("h:1", status.Error(codes.Unavailable, `connection error: desc = "transport: Error while dialing: dial tcp 10.0.0.1:1: connect: connection refused"`))
	const want = "coordinator h:1 cannot be reached: dial tcp 10.0.0.1:1: connect: connection refused; start one there"
	if !strings.HasPrefix(err.Error(), want) || !errors.Is(err, wire.ErrUnavailable) {
		t.Errorf("%v, want %s", err, want)
	}
	for _, text := range []string{
		`connection error: desc = "error reading server preface: read tcp 127.0.0.1:1->127.0.0.1:2: use of closed network connection"`,
		`connection error: desc = "transport: authentication handshake failed: context deadline exceeded"`,
	} {
		err, plain := status.Error(codes.Unavailable, text), strings.Contains(text, "preface")
		if why := wire.Mismatch(t.Context(), err, "h:1", plain); why != nil {
			t.Errorf("Mismatch = %v for a peer that does not answer", why)
		}
		const want = "coordinator h:1 cannot be reached: it accepts connections, but does not answer; "
		if got := wire.Unreachable("h:1", err); !strings.HasPrefix(got.Error(), want) || !errors.Is(got, wire.ErrUnavailable) {
			t.Errorf("%v, want %s", got, want)
		}
	}
}
