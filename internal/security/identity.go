// Package security says who may connect and who may do what: certificates of the cluster's own CA with a role in each,
// mutual TLS 1.3 on every port, and a table of methods and roles. It imports no shell and no schema; it is told the
// names of methods.
//
// Who holds the key of a certificate that the CA signed is who the certificate says. Host names count for browsers only:
// processes of the cluster look at the role of whom they reach, because addresses come and go.
package security

import (
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
)

// Role is what a certificate entitles to.
type Role string

// The roles.
const (
	Coordinator Role = "coordinator" // decides; reads files of workers
	Worker      Role = "worker"      // takes attempts, reads what other workers hold
	Client      Role = "client"      // submits, cancels, drains, reads; its code runs on workers
	Reader      Role = "reader"      // looks how jobs and workers stand
)

// Roles are all roles.
var Roles = []Role{Coordinator, Worker, Client, Reader}

// ParseRole reads a role.
func ParseRole(text string) (Role, error) {
	if r := Role(text); slices.Contains(Roles, r) {
		return r, nil
	}
	return "", fmt.Errorf("role %q is none of coordinator, worker, client and reader", text)
}

// serves reports whether others connect to holders of the role.
func (r Role) serves() bool { return r == Coordinator || r == Worker }

// Identity is who is at the other end of a connection.
type Identity struct {
	// Role is empty without TLS.
	Role Role
	// Name is that of the certificate, and the address without TLS.
	Name string
}

func (i Identity) String() string {
	if i.Role == "" {
		return i.Name
	}
	return string(i.Role) + "/" + i.Name
}

// PeerIdentity returns who calls: for the handler of a gRPC call. Outside of one it is the zero Identity.
func PeerIdentity(ctx context.Context) Identity {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return Identity{}
	}
	if info, ok := p.AuthInfo.(credentials.TLSInfo); ok && len(info.State.PeerCertificates) > 0 {
		if id, err := CertificateIdentity(info.State.PeerCertificates[0]); err == nil {
			return id
		}
	}
	if p.Addr == nil {
		return Identity{}
	}
	return Identity{Name: hostOf(p.Addr.String())}
}

// hostOf returns an address without its port, which says nothing of who is there.
func hostOf(addr string) string {
	if host, _, err := net.SplitHostPort(addr); err == nil {
		return host
	}
	return addr
}

// RequestIdentity returns who asks, for the handler of an HTTP request to a server with the configuration of Browser.
func RequestIdentity(r *http.Request) Identity {
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		if id, err := CertificateIdentity(r.TLS.PeerCertificates[0]); err == nil {
			return id
		}
	}
	return Identity{Name: hostOf(r.RemoteAddr)}
}

// scheme begins the URI that a certificate carries: layshaft://ROLE/NAME.
const scheme = "layshaft"

func (i Identity) uri() *url.URL {
	return &url.URL{Scheme: scheme, Host: string(i.Role), Path: "/" + i.Name}
}

// CertificateIdentity returns whom a certificate names. It does not check who signed it.
func CertificateIdentity(c *x509.Certificate) (Identity, error) {
	var found []Identity
	for _, u := range c.URIs {
		if u.Scheme == scheme {
			role, err := ParseRole(u.Host)
			if err != nil {
				return Identity{}, fmt.Errorf("certificate of %q: %w", c.Subject.CommonName, err)
			}
			found = append(found, Identity{role, strings.TrimPrefix(u.Path, "/")})
		}
	}
	if len(found) != 1 || found[0].Name == "" {
		return Identity{}, fmt.Errorf("certificate of %q names no role of the cluster; make one with: layshaft cert issue", c.Subject.CommonName)
	}
	return found[0], nil
}
