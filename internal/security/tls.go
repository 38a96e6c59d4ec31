package security

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc/credentials"
)

// Files names the PEM files with which a process authenticates itself and its peers.
type Files struct {
	CA   string // certificate of the CA; may contain several
	Cert string // certificate of this process
	Key  string // its private key
}

func (f Files) paths() []string { return []string{f.CA, f.Cert, f.Key} }

// recheck is the minimum interval between checks of the files. They are checked when a connection
// is made.
const recheck = 5 * time.Second

// TLS makes the TLS configurations of a process. It reads the files again when they change, so
// replacing them renews a certificate. While the new files are invalid, it continues with the
// previous ones. It is safe for concurrent use.
type TLS struct {
	files Files
	log   *slog.Logger
	id    Identity // of the first certificate

	// mu guards the fields below.
	mu      sync.Mutex
	now     *material
	checked time.Time
	warned  time.Time // of the last warning about the end of the certificate
	logged  time.Time // of the last refused peer in the log
}

// material is the content of the files at one time.
type material struct {
	cert   tls.Certificate
	cas    []*x509.Certificate
	roots  *x509.CertPool    // of cas
	ending *x509.Certificate // endingCA of cert
	stamps [3]stamp
}

// endingCA returns the CA that signed a certificate and ends no later than that, so that no new
// certificate of this CA helps. It returns nil if there is none, or another CA signed it too.
func (m *material) endingCA(leaf *x509.Certificate) (ending *x509.Certificate) {
	for _, ca := range m.cas {
		if leaf.CheckSignatureFrom(ca) != nil {
			continue
		}
		if ca.NotAfter.After(leaf.NotAfter) {
			return nil
		}
		if ending == nil || ca.NotAfter.After(ending.NotAfter) {
			ending = ca
		}
	}
	return ending
}

// end returns the end of the validity of this process's certificate, or of its CA if that is
// earlier. It also returns the file to replace, its description, and the way to do that.
func (t *TLS) end(m *material) (until time.Time, file, subject, help string) {
	if ca := m.ending; ca != nil {
		return ca.NotAfter, t.files.CA, fmt.Sprintf("the CA of this cluster in %s", t.files.CA), renewCA
	}
	return m.cert.Leaf.NotAfter, t.files.Cert, fmt.Sprintf("the certificate %s of this process", t.files.Cert), renew
}

// stamp detects changes of a file.
type stamp struct {
	time time.Time
	size int64
}

// Load reads the files. The error names the missing or invalid file. log receives messages about
// renewals; nil disables logging.
func Load(files Files, log *slog.Logger) (*TLS, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	m, id, err := readFiles(files)
	if err != nil {
		return nil, err
	}
	t := &TLS{files: files, log: log, id: id, now: m, checked: time.Now()}
	t.warn(t.checked)
	return t, nil
}

const (
	// warnBefore is how long before its end a certificate is warned about.
	warnBefore = 14 * 24 * time.Hour
	// A warning is repeated daily, and every minute when the certificate has expired.
	warnEvery, warnExpired = 24 * time.Hour, time.Minute
)

// warn logs that the certificate ends soon or has expired. Peers refuse it then, and their reason
// does not always arrive. The caller holds t.mu, or has t alone.
func (t *TLS) warn(now time.Time) {
	until, file, _, help := t.end(t.now)
	what := "this certificate"
	if file == t.files.CA {
		what = "the CA of this cluster"
	}
	left, since := until.Sub(now), now.Sub(t.warned)
	switch {
	case left <= 0 && since >= warnExpired:
		t.log.Error(what+" has expired, and peers refuse it: "+help, "file", file, "until", until)
	case left > 0 && left < warnBefore && since >= warnEvery:
		t.log.Warn(what+" ends soon: "+help, "file", file, "until", until)
	default:
		return
	}
	t.warned = now
}

// notInForce begins the errors about the validity of a certificate. gRPC keeps nothing but the text
// of a failed handshake, and wire.Mismatch looks for this one.
const notInForce = "certificate not in force: "

const renew = "issue a new one with layshaft cert issue and replace the files; no restart is needed"

// A certificate of the same CA would end with it.
const renewCA = "make another one with layshaft cert init -dir NEW, append its ca.pem to this file on every machine, then issue new certificates; no restart is needed"

// ValidUntil returns the end of the validity of this process's certificate, or of its CA if that is
// earlier.
func (t *TLS) ValidUntil() time.Time {
	until, _, _, _ := t.end(t.current())
	return until
}

// Notice returns a sentence for people if this process's certificate or its CA has expired or ends
// within 14 days, else "".
func (t *TLS) Notice() string { return t.notice(t.current(), time.Now()) }

func (t *TLS) notice(m *material, now time.Time) string {
	until, _, subject, help := t.end(m)
	switch left := until.Sub(now); {
	case left <= 0:
		return fmt.Sprintf("%s expired on %s, and peers refuse it: %s", subject, date(until), help)
	case left < warnBefore:
		return fmt.Sprintf("%s ends on %s: %s", subject, date(until), help)
	}
	return ""
}

func date(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

// Watch looks at the files once a minute until ctx ends. A process without new connections renews
// its certificate and warns about its end like any other.
func (t *TLS) Watch(ctx context.Context) {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			t.current()
		case <-ctx.Done():
			return
		}
	}
}

// Identity returns the identity of this process.
func (t *TLS) Identity() Identity { return t.id }

// Server returns the credentials of a gRPC server. Clients must have a certificate of the CA.
func (t *TLS) Server() credentials.TransportCredentials {
	return credentials.NewTLS(t.server(tls.RequireAnyClientCert, Roles))
}

// Browser returns the configuration of an HTTP server. A client may have no certificate; then its
// handler decides about access. If a client presents a certificate, it must be signed by the CA.
func (t *TLS) Browser() *tls.Config { return t.server(tls.RequestClientCert, Roles) }

// Peers returns the configuration of a server without gRPC. Clients must have a certificate of the
// CA with one of the given roles.
func (t *TLS) Peers(roles ...Role) *tls.Config { return t.server(tls.RequireAnyClientCert, roles) }

func (t *TLS) server(auth tls.ClientAuthType, roles []Role) *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS13,
		ClientAuth:     auth,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &t.current().cert, nil },
		VerifyConnection: func(s tls.ConnectionState) error {
			if len(s.PeerCertificates) == 0 && auth == tls.RequestClientCert {
				return nil
			}
			return t.verify(s, x509.ExtKeyUsageClientAuth, roles)
		},
	}
}

// Client returns the credentials for connections to servers with the given roles. Other servers are
// refused.
func (t *TLS) Client(to ...Role) credentials.TransportCredentials {
	return credentials.NewTLS(&tls.Config{
		MinVersion:           tls.VersionTLS13,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return t.own() },
		InsecureSkipVerify:   true, // VerifyConnection verifies, except for the host name
		VerifyConnection: func(s tls.ConnectionState) error {
			return t.verify(s, x509.ExtKeyUsageServerAuth, to)
		},
	})
}

// own returns the certificate for a connection to a server. An expired one is an error here: the
// server would refuse it, and its reason may not arrive.
func (t *TLS) own() (*tls.Certificate, error) {
	m, now := t.current(), time.Now()
	if until, _, _, _ := t.end(m); now.After(until) {
		return nil, errors.New(notInForce + t.notice(m, now))
	}
	return &m.cert, nil
}

// explainValidity returns err with the dates and the way out, if it is about the validity of a
// certificate or of its CA. subject names the certificate, which is of the peer or of this process.
func (m *material) explainValidity(err error, leaf *x509.Certificate, subject string) error {
	if ca := m.endingCA(leaf); ca != nil && time.Now().After(ca.NotAfter) {
		return fmt.Errorf(notInForce+"the CA %s, which signed %s, expired on %s: %s", ca.Subject.CommonName, subject, date(ca.NotAfter), renewCA)
	}
	var invalid x509.CertificateInvalidError
	if !errors.As(err, &invalid) || invalid.Reason != x509.Expired {
		return err
	}
	c, now := invalid.Cert, time.Now()
	if now.Before(c.NotBefore) {
		return fmt.Errorf(notInForce+"%s is valid from %s, but the clock of this machine shows %s: set the clocks", subject, date(c.NotBefore), date(now))
	}
	return fmt.Errorf(notInForce+"%s expired on %s: %s", subject, date(c.NotAfter), renew)
}

// verify checks the certificate of the peer. It runs for resumed connections too.
func (t *TLS) verify(s tls.ConnectionState, usage x509.ExtKeyUsage, roles []Role) error {
	if len(s.PeerCertificates) == 0 {
		return errors.New("the peer presented no certificate")
	}
	between := x509.NewCertPool()
	for _, c := range s.PeerCertificates[1:] {
		between.AddCert(c)
	}
	leaf, m := s.PeerCertificates[0], t.current()
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: m.roots, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{usage}}); err != nil {
		id, _ := CertificateIdentity(leaf)
		err = m.explainValidity(err, leaf, fmt.Sprintf("the certificate of %s at the other end", id))
		t.refused(err)
		return err
	}
	id, err := CertificateIdentity(leaf)
	if err != nil {
		return err
	}
	if !slices.Contains(roles, id.Role) {
		return fmt.Errorf("the peer is %s, not a %s", id, roles[0])
	}
	return nil
}

// refused logs the refusal of a peer, at most one each minute. The peer itself often receives only
// "bad certificate".
func (t *TLS) refused(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if now := time.Now(); now.Sub(t.logged) >= warnExpired {
		t.logged = now
		t.log.Warn("connection refused", "err", err)
	}
}

// current returns the current content of the files.
func (t *TLS) current() *material {
	t.mu.Lock()
	defer t.mu.Unlock()
	if time.Since(t.checked) < recheck {
		return t.now
	}
	t.checked = time.Now()
	defer func() { t.warn(t.checked) }()
	if stamps, err := t.files.stamps(); err == nil && stamps == t.now.stamps {
		return t.now
	}
	m, id, err := readFiles(t.files)
	if err == nil && id != t.id {
		err = fmt.Errorf("%s is the certificate of %s, but this process is %s; restart it to change its identity", t.files.Cert, id, t.id)
	}
	if err != nil {
		t.log.Warn("certificate not renewed; the previous one stays in use", "err", err)
		return t.now
	}
	t.now = m
	t.log.Info("certificate renewed", "file", t.files.Cert, "until", m.cert.Leaf.NotAfter)
	return m
}

func (f Files) stamps() (s [3]stamp, err error) {
	for i, path := range f.paths() {
		info, err := os.Stat(path)
		if err != nil {
			return s, err
		}
		s[i] = stamp{info.ModTime(), info.Size()}
	}
	return s, nil
}

// CheckKeyMode returns an error for a key file that every user of the machine can read. A group may
// read it.
func CheckKeyMode(path string) error {
	info, err := os.Stat(path)
	if err == nil && runtime.GOOS != "windows" && info.Mode().Perm()&0o007 != 0 {
		err = fmt.Errorf("key %s is open to every user of this machine (mode %04o); close it: chmod o= %s", path, info.Mode().Perm(), path)
	}
	return err
}

// readFiles reads the files. It takes their stamps first, so that a change in between is detected
// later.
func readFiles(f Files) (*material, Identity, error) {
	for i, path := range f.paths() {
		if path == "" {
			return nil, Identity{}, fmt.Errorf("%s is missing: -tls-ca, -tls-cert and -tls-key must be set together (layshaft cert makes the files)", []string{"-tls-ca", "-tls-cert", "-tls-key"}[i])
		}
	}
	stamps, err := f.stamps()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, Identity{}, fmt.Errorf("%w; make certificates with: layshaft cert init, layshaft cert issue", err)
	}
	if err != nil {
		return nil, Identity{}, err
	}
	m := &material{roots: x509.NewCertPool(), stamps: stamps}
	ca, err := os.ReadFile(f.CA)
	if err != nil {
		return nil, Identity{}, err
	}
	for block, rest := pem.Decode(ca); block != nil; block, rest = pem.Decode(rest) {
		if c, err := x509.ParseCertificate(block.Bytes); err == nil && block.Type == "CERTIFICATE" {
			m.cas = append(m.cas, c)
			m.roots.AddCert(c)
		}
	}
	if len(m.cas) == 0 {
		return nil, Identity{}, fmt.Errorf("%s has no certificate in PEM form", f.CA)
	}
	if err := CheckKeyMode(f.Key); err != nil {
		return nil, Identity{}, err
	}
	if m.cert, err = tls.LoadX509KeyPair(f.Cert, f.Key); err != nil {
		return nil, Identity{}, fmt.Errorf("certificate %s, key %s: %w", f.Cert, f.Key, err)
	}
	m.ending = m.endingCA(m.cert.Leaf)
	id, err := CertificateIdentity(m.cert.Leaf)
	if err != nil {
		return nil, Identity{}, fmt.Errorf("%s: %w", f.Cert, err)
	}
	if _, err := m.cert.Leaf.Verify(x509.VerifyOptions{Roots: m.roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
		return nil, Identity{}, m.explainValidity(fmt.Errorf("%s: %w", f.Cert, err), m.cert.Leaf, fmt.Sprintf("the certificate %s of this process", f.Cert))
	}
	return m, id, nil
}
