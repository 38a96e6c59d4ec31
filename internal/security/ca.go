package security

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Files of a CA directory, and the suffixes of the files of a certificate and its key.
const (
	caCert  = "ca.pem"
	caKey   = "ca-key.pem"
	certEnd = ".pem"
	keyEnd  = "-key.pem"
)

const (
	caValidity = 10 * 365 * 24 * time.Hour
	// DefaultValidity is the default validity of a certificate. Certificates cannot be revoked, so
	// a shorter time is safer.
	DefaultValidity = 365 * 24 * time.Hour
	// clockSlack is the maximum difference between the clocks of two machines.
	clockSlack = 10 * time.Minute
)

// InitCA makes a CA in dir, and creates dir if needed. It writes ca.pem, which every process needs,
// and ca-key.pem, which signs certificates and should be kept elsewhere. It returns an error if dir
// contains a CA already, and does not change it.
func InitCA(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	now := time.Now()
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: "Layshaft CA " + now.UTC().Format(time.DateOnly)},
		NotBefore:             now.Add(-clockSlack),
		NotAfter:              now.Add(caValidity),
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	if err := writeCertificate(dir, caCert, caKey, template, template, key, key); err != nil {
		return fmt.Errorf("certificate authority: %w", err)
	}
	return nil
}

// Request describes a certificate to issue. Role and Name are required.
type Request struct {
	// Role is the role granted by the certificate.
	Role Role
	// Name is the name of the holder, for logs and as the owner of jobs. It has 1 to 64 letters,
	// digits, dots, dashes, underscores and @.
	Name string
	// Hosts are the host names and IP addresses that browsers use for a coordinator or worker.
	// Other roles must have none.
	Hosts []string
	// Validity is the validity of the certificate. Zero means DefaultValidity. It is limited to the
	// validity of the CA.
	Validity time.Duration
}

// roleDomain ends the host name that every certificate of a server has beside its own hosts, such
// as coordinator.layshaft. Programs that can check nothing but a host name check the role with it.
const roleDomain = ".layshaft"

// Issue makes a certificate signed by the CA in dir, and its key, and returns their paths:
// ROLE-NAME.pem and ROLE-NAME-key.pem in dir. It returns an error if one of the files exists, and
// does not change it.
func Issue(dir string, r Request) (certFile, keyFile string, err error) {
	if _, err := ParseRole(string(r.Role)); err != nil {
		return "", "", err
	}
	if r.Name == "" || len(r.Name) > 64 || strings.Trim(r.Name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_@") != "" {
		return "", "", fmt.Errorf("name %q of a certificate is not 1 to 64 letters, digits, dots, dashes, underscores and @", r.Name)
	}
	if r.Validity < 0 {
		return "", "", fmt.Errorf("validity %v of a certificate is negative", r.Validity)
	}
	if len(r.Hosts) > 0 && !r.Role.serves() {
		return "", "", fmt.Errorf("hosts %s: no process connects to a %s; omit them", strings.Join(r.Hosts, ","), r.Role)
	}
	if r.Validity == 0 {
		r.Validity = DefaultValidity
	}
	ca, signer, err := loadCA(dir)
	if err != nil {
		return "", "", err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", err
	}
	id, now := Identity{r.Role, r.Name}, time.Now()
	if now.After(ca.NotAfter) {
		return "", "", fmt.Errorf("the CA in %s expired on %s: %s", dir, date(ca.NotAfter), renewCA)
	}
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: r.Name, OrganizationalUnit: []string{string(r.Role)}},
		NotBefore:   now.Add(-clockSlack),
		NotAfter:    now.Add(r.Validity),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		URIs:        []*url.URL{id.uri()},
	}
	if template.NotAfter.After(ca.NotAfter) {
		template.NotAfter = ca.NotAfter
	}
	if r.Role.serves() {
		template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
		template.DNSNames = []string{string(r.Role) + roleDomain}
	}
	for _, h := range r.Hosts {
		if strings.HasSuffix(strings.ToLower(strings.TrimSuffix(h, ".")), roleDomain) {
			return "", "", fmt.Errorf("host %s: names that end in %s stand for roles; omit it", h, roleDomain)
		}
		if ip := net.ParseIP(h); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, h)
		}
	}
	base := string(r.Role) + "-" + r.Name
	if err := writeCertificate(dir, base+certEnd, base+keyEnd, template, ca, key, signer); err != nil {
		return "", "", fmt.Errorf("certificate %s: %w", id, err)
	}
	return filepath.Join(dir, base+certEnd), filepath.Join(dir, base+keyEnd), nil
}

func loadCA(dir string) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	cert, err := readPEM(filepath.Join(dir, caCert), "CERTIFICATE")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("%s has no CA; make one with: layshaft cert init -dir %s", dir, dir)
	}
	if err != nil {
		return nil, nil, err
	}
	if err := CheckKeyMode(filepath.Join(dir, caKey)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	}
	keyBytes, err := readPEM(filepath.Join(dir, caKey), "PRIVATE KEY")
	if err != nil {
		return nil, nil, err
	}
	ca, err := x509.ParseCertificate(cert)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", filepath.Join(dir, caCert), err)
	}
	key, err := x509.ParsePKCS8PrivateKey(keyBytes)
	signer, ok := key.(*ecdsa.PrivateKey)
	if err != nil || !ok {
		return nil, nil, fmt.Errorf("%s is not the key of a CA made by layshaft cert init", filepath.Join(dir, caKey))
	}
	return ca, signer, nil
}

func readPEM(path, kind string) ([]byte, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(b)
	if block == nil || block.Type != kind {
		return nil, fmt.Errorf("%s has no PEM block of type %s", path, kind)
	}
	return block.Bytes, nil
}

// write signs a certificate and writes its key and then the certificate. A certificate without its
// key would be useless.
func writeCertificate(dir, certName, keyName string, template, parent *x509.Certificate, key, signer *ecdsa.PrivateKey) error {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return err
	}
	template.SerialNumber = serial
	cert, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		return err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if err := writePEM(filepath.Join(dir, keyName), "PRIVATE KEY", secret, 0o600); err != nil {
		return err
	}
	return writePEM(filepath.Join(dir, certName), "CERTIFICATE", cert, 0o644)
}

func writePEM(path, kind string, bytes []byte, mode fs.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s exists; move it away to replace it", path)
	}
	if err != nil {
		return err
	}
	err = pem.Encode(f, &pem.Block{Type: kind, Bytes: bytes})
	return errors.Join(err, f.Sync(), f.Close())
}
