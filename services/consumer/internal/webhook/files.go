package webhook

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"

	"orderflow.example/kit/secret"
)

// Files are paths. Empty ones are not used. What they hold may change while orders are delivered: the next call has it.
type Files struct {
	CA      string // certificates, in PEM: who may have signed the receiver's, instead of the public authorities
	Cert    string // the client's own, with those between it and its authority
	Key     string // of that
	URL     string // this and the next two as the settings have them: one line end at the end does not count
	Keys    string
	Headers string
}

// IsZero says whether no file is used.
func (f Files) IsZero() bool { return f == Files{} }

// LoadCA reads a file of authorities.
func LoadCA(path string) (*x509.CertPool, error) {
	content, err := os.ReadFile(path) //nolint:gosec // the operator names it
	if err != nil {
		return nil, shorter(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(content) {
		return nil, errors.New("it has no certificate in PEM")
	}
	return pool, nil
}

// LoadCert reads a certificate and its key.
func LoadCert(cert, key string) (tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(cert, key)
	return pair, shorter(err)
}

// certificates reads the first three.
func (f Files) certificates() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if f.CA != "" {
		pool, err := LoadCA(f.CA)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", f.CA, err)
		}
		c.RootCAs = pool
	}
	if f.Cert != "" {
		pair, err := LoadCert(f.Cert, f.Key)
		if err != nil {
			return nil, fmt.Errorf("read %s and %s: %w", f.Cert, f.Key, err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// version is that of all of them.
type version [6]secret.Version

func (f Files) version() (v version) {
	for i, path := range [...]string{f.CA, f.Cert, f.Key, f.URL, f.Keys, f.Headers} {
		if path != "" {
			v[i] = secret.VersionOf(path)
		}
	}
	return v
}

func (v version) equal(other version) bool {
	for i := range v {
		if !v[i].Equal(other[i]) {
			return false
		}
	}
	return true
}

// shorter is an error of the file system without the path, which is named beside it.
func shorter(err error) error {
	if path := (*os.PathError)(nil); errors.As(err, &path) {
		return path.Err
	}
	return err
}
