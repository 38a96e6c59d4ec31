// Package security decides about connections and permissions. It provides certificates of the
// cluster's own CA with a role in each, mutual TLS 1.3 on every port, and a table of methods and
// roles. It imports no shell and no schema; methods are given by name.
//
// The holder of the key of a signed certificate has the identity in the certificate. Host names
// matter only to browsers. Processes of the cluster check the role of their peer instead, because
// addresses change.
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

// Role is the set of permissions granted by a certificate.
type Role string

// The roles.
const (
	Coordinator Role = "coordinator" // schedules; reads files of workers
	Worker      Role = "worker"      // runs attempts; reads outputs of other workers
	Client      Role = "client"      // submits, cancels, drains, reads; its code runs on workers
	Reader      Role = "reader"      // reads the status of jobs and workers
)

// Roles lists all roles.
var Roles = []Role{Coordinator, Worker, Client, Reader}

// ParseRole parses the name of a role.
func ParseRole(text string) (Role, error) {
	if r := Role(text); slices.Contains(Roles, r) {
		return r, nil
	}
	return "", fmt.Errorf("unknown role %q; use coordinator, worker, client or reader", text)
}

// serves reports whether other processes connect to holders of the role.
func (r Role) serves() bool { return r == Coordinator || r == Worker }

// Identity identifies the peer of a connection.
type Identity struct {
	// Role is empty without TLS.
	Role Role
	// Name is the name in the certificate, or the address without TLS.
	Name string
}

func (i Identity) String() string {
	if i.Role == "" {
		return i.Name
	}
	return string(i.Role) + "/" + i.Name
}

// PeerIdentity returns the identity of the caller, for the handler of a gRPC call. Outside a call
// it returns the zero Identity.
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

// hostOf returns an address without its port. The port does not identify the peer.
func hostOf(addr string) string {
	if host, _, err := net.SplitHostPort(addr); err == nil {
		return host
	}
	return addr
}

// RequestIdentity returns the identity of the client of an HTTP request. The server must use the
// configuration of Browser.
func RequestIdentity(r *http.Request) Identity {
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		if id, err := CertificateIdentity(r.TLS.PeerCertificates[0]); err == nil {
			return id
		}
	}
	return Identity{Name: hostOf(r.RemoteAddr)}
}

// scheme is the scheme of the URI in a certificate: layshaft://ROLE/NAME.
const scheme = "layshaft"

func (i Identity) uri() *url.URL {
	return &url.URL{Scheme: scheme, Host: string(i.Role), Path: "/" + i.Name}
}

// CertificateIdentity returns the identity in a certificate. It does not check the signature.
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
		return Identity{}, fmt.Errorf("certificate of %q has no role of the cluster; make one with: layshaft cert issue", c.Subject.CommonName)
	}
	return found[0], nil
}
