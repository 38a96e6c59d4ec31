package postgres

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/layshaft/layshaft/internal/hold"
)

// Error is an error of a database, in words.
type Error struct {
	Database string // its name, without secrets
	Place    string // the table or split; may be empty
	Text     string // what is wrong, and the way out
	Err      error
}

func (e *Error) Error() string {
	if e.Place != "" {
		return "database " + e.Database + ": " + e.Place + ": " + e.Text
	}
	return "database " + e.Database + ": " + e.Text
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

func codeOf(err error) string {
	var p *pgconn.PgError
	if errors.As(err, &p) {
		return p.Code
	}
	return ""
}

// Permanent reports whether another attempt at the same work would fail in the same way.
func Permanent(err error) bool {
	code := codeOf(err)
	switch {
	case errors.Is(err, hold.ErrLost):
		return true
	case len(code) != 5:
		return false
	case code[:2] == "28", code == "3D000", code == "42501":
		return true
	}
	return code[:2] == "42" || code[:2] == "22" || code[:2] == "23"
}

// Explain returns an error of the driver in words, with a way out. place is a table or a split. An
// error that is explained already, such as a lost snapshot, stays as it is.
func Explain(name, place string, err error) error {
	var known *Error
	if err == nil || errors.As(err, &known) || errors.Is(err, context.Canceled) || errors.Is(err, hold.ErrLost) {
		return err
	}
	return &Error{Database: Display(name), Place: place, Text: text(name, err), Err: err}
}

func text(name string, err error) string {
	var (
		refused  *pgconn.ConnectError
		server   *pgconn.PgError
		host     x509.HostnameError
		unknown  x509.UnknownAuthorityError
		invalid  x509.CertificateInvalidError
		verify   *tls.CertificateVerificationError
		atServer string
		user     string
		base     string
	)
	if errors.As(err, &refused) {
		atServer = fmt.Sprintf("%s:%d", refused.Config.Host, refused.Config.Port)
		user, base = refused.Config.User, refused.Config.Database
	}
	where := "the connection string"
	if name != "" && !isInline(name) {
		where = placeOf(name)
	}
	switch {
	case errors.As(err, &server):
		said := server.Message
		switch server.Code {
		case "28P01", "28000":
			return fmt.Sprintf("%s refuses user %s: %s; correct the user or the password in %s, PGPASSWORD or ~/.pgpass, or allow the user in pg_hba.conf", atServer, user, said, where)
		case "3D000":
			return fmt.Sprintf("%s has no database %q; correct dbname in %s", atServer, base, where)
		case "53300":
			return fmt.Sprintf("the server is full: %s; lower Connections (or the budget), or raise max_connections or the role's CONNECTION LIMIT", said)
		case "42501":
			return fmt.Sprintf("%s; GRANT the right to the role that connects", said)
		case "42P01":
			return fmt.Sprintf("%s; correct the name, or put its schema before it", said)
		case "42703":
			return fmt.Sprintf("%s; correct the name%s", said, hint(server))
		case "57014":
			return fmt.Sprintf("a statement was stopped: %s; raise StatementTimeout, or read smaller splits", said)
		case "57P01", "57P02", "57P03":
			return fmt.Sprintf("the server starts or ends just now: %s; try again when it accepts connections", said)
		}
		return fmt.Sprintf("%s (SQLSTATE %s)%s", said, server.Code, hint(server))
	case errors.As(err, &host):
		return fmt.Sprintf("the certificate of %s is for another name: %v; correct the host in %s", atServer, host, where)
	case errors.As(err, &unknown), errors.As(err, &invalid), errors.As(err, &verify):
		return fmt.Sprintf("the certificate of %s is not trusted: %v; name the CA with sslrootcert=FILE in %s", atServer, lastOf(err), where)
	case refused != nil && strings.Contains(err.Error(), "server refused TLS connection"):
		return fmt.Sprintf("%s offers no TLS; switch it on there, or use sslmode=disable in %s on a network that you trust", atServer, where)
	case refused != nil && errors.Is(err, context.DeadlineExceeded):
		return fmt.Sprintf("%s does not answer in time; check host and port in %s, and the firewall", atServer, where)
	case refused != nil:
		return fmt.Sprintf("%s cannot be reached: %v; check host and port in %s, and that the server runs", atServer, lastOf(err), where)
	}
	return "the connection broke: " + err.Error()
}

// lastOf returns the innermost error, which has no connection string.
func lastOf(err error) error {
	for {
		var next error
		switch e := err.(type) {
		case interface{ Unwrap() error }:
			next = e.Unwrap()
		case interface{ Unwrap() []error }:
			if all := e.Unwrap(); len(all) > 0 {
				next = all[0]
			}
		}
		if next == nil {
			return err
		}
		err = next
	}
}

func hint(e *pgconn.PgError) string {
	if e.Hint != "" {
		return "; " + strings.TrimSuffix(e.Hint, ".")
	}
	if e.Detail != "" {
		return ": " + strings.TrimSuffix(e.Detail, ".")
	}
	return ""
}
