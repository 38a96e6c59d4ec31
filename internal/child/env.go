package child

import (
	"os"
	"slices"
	"strings"
)

// common lists the variables that every child gets. A name that ends in * is a prefix. Secrets of
// the worker, such as its gossip key, are not among them. Secrets of object stores, databases and
// search servers are, because pipelines read and write there.
var common = []string{
	"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "LC_*", "TZ", "TZDIR", "ZONEINFO", "TMPDIR", "TMP", "TEMP",
	"SSL_CERT_FILE", "SSL_CERT_DIR", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
	"GOMAXPROCS", "GOMEMLIMIT", "GOGC", "GOTRACEBACK", "GOCOVERDIR", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES",
	"AWS_*", "LAYSHAFT_S3_*", "LAYSHAFT_SEARCH_*", "PG*", "LAYSHAFT_PG_*", "SYSTEMROOT", "SystemRoot",
}

// Environment returns the variables of this process that a process with user code gets: the common
// ones and those in names. A name that ends in * is a prefix. GODEBUG is left to the caller.
func Environment(names []string) (env []string) {
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		is := func(pattern string) bool {
			prefix, all := strings.CutSuffix(pattern, "*")
			return pattern == name || all && strings.HasPrefix(name, prefix)
		}
		if slices.ContainsFunc(common, is) || slices.ContainsFunc(names, is) {
			env = append(env, v)
		}
	}
	return env
}
