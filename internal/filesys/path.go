package filesys

import (
	"io/fs"
	"path"
	"path/filepath"
	"regexp"
	"strings"
)

// Scheme returns the part of path before ://, in lower case; empty when there is none.
func Scheme(path string) string {
	s, _, ok := strings.Cut(path, "://")
	if !ok || s == "" {
		return ""
	}
	for i := range len(s) {
		c := s[i] | ' '
		if (c < 'a' || c > 'z') && (i == 0 || !strings.ContainsRune("0123456789+-.", rune(s[i]))) {
			return ""
		}
	}
	return strings.ToLower(s)
}

// splitRoot splits a path with a scheme into SCHEME://PLACE and the rest. The rest starts with a
// slash or is empty.
func splitRoot(p string) (root, rest string) {
	at := strings.Index(p, "://") + 3
	if i := strings.IndexByte(p[at:], '/'); i >= 0 {
		return p[:at+i], p[at+i:]
	}
	return p, ""
}

// Cut splits a path with a scheme into its place and the name there: dataset://w1@logs/a/b into
// "w1@logs" and "a/b".
func Cut(p string) (place, name string) {
	root, rest := splitRoot(p)
	return root[strings.Index(root, "://")+3:], strings.TrimPrefix(rest, "/")
}

// Clean returns the shortest path of the same file. Dots never lead above the place of a path with
// a scheme.
func Clean(p string) string {
	if Scheme(p) == "" {
		return filepath.Clean(p)
	}
	root, rest := splitRoot(p)
	if rest = path.Clean("/" + rest); rest == "/" && !strings.HasSuffix(root, "//") {
		rest = ""
	}
	return Scheme(p) + root[strings.Index(root, "://"):] + rest
}

// Join appends names to a directory.
func Join(dir string, names ...string) string {
	if Scheme(dir) == "" {
		return filepath.Join(append([]string{dir}, names...)...)
	}
	return Clean(dir + "/" + strings.Join(names, "/"))
}

// Base returns the last name of a path.
func Base(p string) string {
	if Scheme(p) == "" {
		return filepath.Base(p)
	}
	_, rest := splitRoot(Clean(p))
	return path.Base(rest)
}

// Dir returns the directory of a path.
func Dir(p string) string {
	if Scheme(p) == "" {
		return filepath.Dir(p)
	}
	root, rest := splitRoot(Clean(p))
	return Clean(root + path.Dir("/"+rest))
}

// Host returns the host of a path, before an @ as in dataset://w1@logs/a; empty when it has none.
func Host(p string) string {
	if Scheme(p) == "" {
		return ""
	}
	place, _ := Cut(p)
	host, _, ok := strings.Cut(place, "@")
	if !ok {
		return ""
	}
	return host
}

// OnHost returns path on another host, or without a host when host is empty. A path without a
// scheme has no host.
func OnHost(p, host string) string {
	scheme := Scheme(p)
	if scheme == "" {
		return p
	}
	root, rest := splitRoot(p)
	place := root[strings.Index(root, "://")+3:]
	if _, after, ok := strings.Cut(place, "@"); ok {
		place = after
	}
	if host != "" {
		place = host + "@" + place
	}
	return scheme + "://" + place + rest
}

// Local returns the path of a name inside a place, with slashes and without a way out of the place;
// "." is the place itself. ok is false when there is no such path.
func Local(name string) (local string, ok bool) {
	local = path.Clean(strings.TrimPrefix(name, "/"))
	if name == "" || name == "/" {
		local = "."
	}
	return local, fs.ValidPath(local) && filepath.IsLocal(filepath.FromSlash(local)) && !strings.ContainsRune(local, 0)
}

// lentPrefix matches the beginning of paths lent by a client.
var lentPrefix = regexp.MustCompile(`client://[0-9a-f]{32}/`)

// DisplayText returns a text for people: paths lent by a client appear as on its machine.
func DisplayText(text string) string {
	if !strings.Contains(text, "client://") {
		return text
	}
	return lentPrefix.ReplaceAllString(text, "/")
}

// HasMeta reports whether path is a glob.
func HasMeta(path string) bool { return strings.ContainsAny(path, `*?[{`) }

// Hidden reports whether a name in the path starts with a dot or an underscore. Folders such as
// _year=2024 are not hidden, as in Spark: they are partitions by a column _year.
func Hidden(path string) bool {
	for _, e := range strings.Split(filepath.ToSlash(path), "/") {
		if e != "." && e != ".." && (strings.HasPrefix(e, ".") || strings.HasPrefix(e, "_") && !strings.Contains(e, "=")) {
			return true
		}
	}
	return false
}
