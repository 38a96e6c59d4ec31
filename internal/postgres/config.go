// Package postgres is the ground of packages mapreduce/pgio and of PostgreSQL tables in reports: it
// finds a database by its name, connects, describes tables and queries, cuts them into ranges, and
// reads them by binary COPY on one exported snapshot. It leaves the Go types to its callers.
//
// Names and secrets. Plans, logs and errors name a database by a word, such as shop. Each process
// turns the word into a connection string by itself, from LAYSHAFT_PG_shop. So no secret travels.
package postgres

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

var (
	nameForm     = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_.-]*$`)
	secretOption = regexp.MustCompile(`(?i)(^|[\s?&])(password|sslpassword)\s*=`)
)

// files are the files of Define, by name of the database.
var files sync.Map

// Define makes this process read the connection string of a database from a file, instead of the
// environment.
func Define(name, file string) error {
	if !nameForm.MatchString(name) {
		return fmt.Errorf("database name %q: use letters, digits, dots, dashes and underscores, beginning with a letter", name)
	}
	if _, err := readFile(file); err != nil {
		return fmt.Errorf("database %s: %w", name, err)
	}
	files.Store(name, file)
	return nil
}

// isInline reports whether a database is given by a connection string instead of a name.
func isInline(name string) bool { return strings.ContainsAny(name, "=/:@ ") }

// Display returns the name of a database for people. A connection string loses its secrets.
func Display(name string) string {
	if !isInline(name) {
		return name
	}
	if u, err := url.Parse(name); err == nil && u.Scheme != "" {
		if _, has := u.User.Password(); !has && !secretOption.MatchString(u.RawQuery) {
			return name
		}
		u.User, u.RawQuery = url.User(u.User.Username()), ""
		return u.String()
	}
	if at := secretOption.FindStringIndex(name); at != nil {
		return strings.TrimSpace(name[:at[0]])
	}
	if strings.Contains(name, "@") { // a URL that cannot be parsed
		return "(a connection string)"
	}
	return name
}

// placeOf returns where the connection string of a database stands, for messages.
func placeOf(name string) string {
	if f, ok := files.Load(name); ok {
		return f.(string)
	}
	return variableOf(name)
}

// variableOf returns the environment variable that holds the connection string of a database, or
// should.
func variableOf(name string) string {
	all := variables(name)
	for _, v := range all {
		if os.Getenv(v) != "" {
			return v
		}
	}
	return all[0]
}

// variables returns the names of the environment variables that may hold the connection string of
// a database, in order of preference.
func variables(name string) []string {
	exact := "LAYSHAFT_PG_" + strings.NewReplacer("-", "_", ".", "_").Replace(name)
	if upper := strings.ToUpper(exact); upper != exact {
		return []string{exact, upper}
	}
	return []string{exact}
}

// Config returns the configuration of a database: a name, whose connection string stands in the
// environment or in a file; a connection string without a password; or "" for the variables that
// psql reads, such as PGHOST. Passwords may stand in PGPASSWORD, a password file or the named
// connection string.
func Config(name string) (*pgconn.Config, error) {
	text, source := name, "the connection string"
	switch {
	case name == "":
		source = "the environment (PGHOST, PGSERVICE and so on)"
	case isInline(name):
		if u, err := url.Parse(name); err == nil && u.Scheme != "" {
			if _, has := u.User.Password(); has {
				return nil, errSecret(name)
			}
		}
		if secretOption.MatchString(name) {
			return nil, errSecret(name)
		}
	case !nameForm.MatchString(name):
		return nil, fmt.Errorf("database name %q: use letters, digits, dots, dashes and underscores, beginning with a letter", name)
	default:
		var err error
		if text, source, err = lookUp(name); err != nil {
			return nil, err
		}
	}
	cfg, err := pgconn.ParseConfig(text)
	if err != nil {
		// the driver's own message repeats the connection string
		return nil, fmt.Errorf("database %s: %s is not a valid connection string; write one such as host=db.example dbname=shop user=reader, or postgres://reader@db.example:5432/shop?sslmode=verify-full", Display(name), source)
	}
	if cfg.RuntimeParams["application_name"] == "" {
		cfg.RuntimeParams["application_name"] = "layshaft"
	}
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = 20 * time.Second
	}
	return cfg, nil
}

func errSecret(name string) error {
	return fmt.Errorf("database %s: the connection string has a password, which plans and logs would show; set LAYSHAFT_PG_shop to it (or to the path of a file with it) and name the database shop, or leave the password out and use PGPASSWORD or ~/.pgpass", Display(name))
}

// lookUp returns the connection string of a name, and where it was found.
func lookUp(name string) (text, source string, err error) {
	if f, ok := files.Load(name); ok {
		text, err = readFile(f.(string))
		return text, f.(string), err
	}
	v := variableOf(name)
	if text = strings.TrimSpace(os.Getenv(v)); text == "" {
		return "", "", fmt.Errorf("database %s: its connection string is unknown to this process; set %s to it, or to the path of a file with it, here and on every worker", name, v)
	}
	if !filepath.IsAbs(text) {
		return text, v, nil
	}
	if text, err = readFile(text); err != nil {
		err = fmt.Errorf("database %s: %s: %w", name, v, err)
	}
	return text, "the file in " + v, err
}

func readFile(file string) (string, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("the connection string cannot be read: %w", err)
	}
	text := strings.TrimSpace(string(b))
	if text == "" || strings.Contains(text, "\n") {
		return "", fmt.Errorf("%s: it must have one line, a connection string such as postgres://user:password@host:5432/dbname", file)
	}
	return text, nil
}

// Ident quotes a name for SQL.
func Ident(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// Literal quotes a text for SQL, whatever standard_conforming_strings is.
func Literal(text string) string {
	text = strings.ReplaceAll(text, "'", "''")
	if strings.Contains(text, `\`) {
		return ` E'` + strings.ReplaceAll(text, `\`, `\\`) + `'`
	}
	return "'" + text + "'"
}
