package searchio

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/layshaft/layshaft/internal/retry"
	"github.com/layshaft/layshaft/mapreduce/connector"
)

// Server is an Elasticsearch or OpenSearch server. It contains no secrets: each process that sends
// requests reads them from its environment.
type Server struct {
	// URL is the address, such as https://search.example:9200. Several addresses of one cluster are
	// separated by commas; a request that fails at one is sent to the next. A user or password in
	// it is refused.
	URL string
	// Env is the prefix of the environment variables with the credentials. Empty means
	// LAYSHAFT_SEARCH. The variables are _USER and _PASSWORD, or _API_KEY, and _CA, a file with the
	// certificates of the server's CA. With _FILE appended, _PASSWORD_FILE and _API_KEY_FILE name
	// files with the secret. A worker passes variables with the default prefix to its children;
	// others need its flag -env.
	Env string
	// Budget is the name of the budget that limits requests in flight. Empty means "search". See
	// InFlight.
	Budget string
	// InFlight is the number of requests in flight over the whole cluster, whatever the number of
	// workers. Zero means 4. `layshaft task budget search 8` and -budget search=8 replace it.
	InFlight int
	// Timeout limits one request. It is then sent again. Zero means one minute.
	Timeout time.Duration
	// GiveUp is how long a request is repeated while the server is away, answers 429 or 5xx, and
	// accepts nothing. Then the attempt fails, and is repeated like any other. Zero means 10
	// minutes.
	GiveUp time.Duration

	transport http.RoundTripper // for tests; nil means the network
}

// withDefaults returns a checked copy.
func (s Server) withDefaults() (Server, error) {
	s.Env = cmp.Or(s.Env, "LAYSHAFT_SEARCH")
	s.Budget = cmp.Or(s.Budget, "search")
	s.InFlight = cmp.Or(s.InFlight, 4)
	s.Timeout = cmp.Or(s.Timeout, time.Minute)
	s.GiveUp = cmp.Or(s.GiveUp, 10*time.Minute)
	switch {
	case s.InFlight < 0:
		return s, fmt.Errorf("searchio: InFlight %d: use 1 or more requests, or 0 for 4", s.InFlight)
	case s.Timeout < 0 || s.GiveUp < 0:
		return s, fmt.Errorf("searchio: Timeout %v, GiveUp %v: neither may be negative", s.Timeout, s.GiveUp)
	}
	_, err := s.addresses()
	return s, err
}

// addresses returns the URLs without a slash at the end. An error never contains a URL that may
// contain a password.
func (s Server) addresses() ([]string, error) {
	var list []string
	for i, text := range strings.Split(s.URL, ",") {
		text = strings.TrimSpace(text)
		u, err := url.Parse(text)
		switch {
		case err == nil && u.User != nil || err != nil && strings.Contains(text, "@"):
			return nil, fmt.Errorf("searchio: address %d has a user or password in it; give them by %s_USER and %s_PASSWORD, so that no plan or log shows them", i+1, s.Env, s.Env)
		case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "":
			return nil, fmt.Errorf("searchio: address %q is not of the form http://HOST:9200 or https://HOST:9200", text)
		}
		list = append(list, strings.TrimSuffix(text, "/"))
	}
	return list, nil
}

// display returns the addresses for plans and errors.
func (s Server) display() string {
	if _, err := s.addresses(); err != nil {
		return "?"
	}
	return s.URL
}

// link sends requests to a server. Goroutines may share it.
type link struct {
	Server
	urls   []string
	secret string // the value of the header Authorization
	hc     *http.Client
}

// connect reads the credentials of the process. It sends nothing.
func (s Server) connect() (*link, error) {
	s, err := s.withDefaults()
	if err != nil {
		return nil, err
	}
	l := &link{Server: s}
	l.urls, _ = s.addresses()
	if l.secret, err = s.authorization(); err != nil {
		return nil, err
	}
	rt := s.transport
	if rt == nil {
		t := http.DefaultTransport.(*http.Transport).Clone()
		t.MaxIdleConnsPerHost, t.DisableCompression = 16, true
		if file := os.Getenv(s.Env + "_CA"); file != "" {
			pem, err := os.ReadFile(file)
			if err != nil {
				return nil, fmt.Errorf("%s_CA: %w", s.Env, err)
			}
			pool := x509.NewCertPool()
			if !pool.AppendCertsFromPEM(pem) {
				return nil, fmt.Errorf("%s_CA: %s contains no certificate in PEM form", s.Env, file)
			}
			t.TLSClientConfig = &tls.Config{RootCAs: pool}
		}
		rt = t
	}
	// a redirect could take the credentials elsewhere
	l.hc = &http.Client{Transport: rt, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return l, nil
}

// secretOf returns the value of a variable, or the content of the file that its _FILE names.
func (s Server) secretOf(name string) (string, error) {
	file := os.Getenv(s.Env + name + "_FILE")
	if file == "" {
		return os.Getenv(s.Env + name), nil
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("%s%s_FILE: %w", s.Env, name, err)
	}
	return strings.TrimSpace(string(b)), nil
}

func (s Server) authorization() (string, error) {
	key, err := s.secretOf("_API_KEY")
	if err != nil || key != "" {
		return "ApiKey " + key, err
	}
	password, err := s.secretOf("_PASSWORD")
	user := os.Getenv(s.Env + "_USER")
	switch {
	case err != nil:
		return "", err
	case user == "" && password == "":
		return "", nil
	case user == "":
		return "", fmt.Errorf("%s_PASSWORD is set, but %s_USER is not; set both", s.Env, s.Env)
	}
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password)), nil
}

func (l *link) close() { l.hc.CloseIdleConnections() }

// answer is the response to one request.
type answer struct {
	status int
	after  time.Duration // Retry-After
	body   []byte
}

// maxAnswer bounds the memory of a response. The response to a bulk request of 10,000 refused
// documents takes about 4 MB.
const maxAnswer = 64 << 20

// once sends a request to the address number try.
func (l *link) once(ctx context.Context, try int, method, path string, body []byte) (a answer, err error) {
	ctx, cancel := context.WithTimeout(ctx, l.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, l.urls[try%len(l.urls)]+path, bytes.NewReader(body))
	if err != nil {
		return a, err
	}
	if l.secret != "" {
		req.Header.Set("Authorization", l.secret)
	}
	if len(body) > 0 {
		req.Header.Set("Content-Type", "application/json")
		if strings.HasPrefix(path[strings.LastIndexByte(path, '/')+1:], "_bulk") {
			req.Header.Set("Content-Type", "application/x-ndjson")
		}
	}
	resp, err := l.hc.Do(req)
	if err != nil {
		return a, err
	}
	defer resp.Body.Close()
	a = answer{status: resp.StatusCode, after: retryAfter(resp.Header.Get("Retry-After"))}
	buf := bytes.NewBuffer(make([]byte, 0, max(min(resp.ContentLength, maxAnswer), 0)+bytes.MinRead))
	n, err := io.Copy(buf, io.LimitReader(resp.Body, maxAnswer+1))
	if err == nil && n > maxAnswer {
		err = fmt.Errorf("answer of more than %d MiB", maxAnswer>>20)
	}
	a.body = buf.Bytes()
	return a, err
}

// retryAfter returns the pause that a header asks for, at most five minutes; zero if none.
func retryAfter(h string) time.Duration {
	if h == "" {
		return 0
	}
	d := time.Duration(0)
	if n, err := strconv.Atoi(h); err == nil {
		d = time.Duration(min(n, 1<<20)) * time.Second
	} else if t, err := http.ParseTime(h); err == nil {
		d = time.Until(t)
	}
	return min(max(d, 0), 5*time.Minute)
}

// isBusy reports whether a status means that the same request may succeed later.
func isBusy(status int) bool {
	return status == http.StatusTooManyRequests || status == http.StatusRequestTimeout || status >= 500 && status != http.StatusNotImplemented
}

// isCertificate reports whether an error cannot end by itself: a certificate, or a server without
// TLS.
func isCertificate(err error) bool {
	var unknown x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	var verify *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	return errors.As(err, &unknown) || errors.As(err, &host) || errors.As(err, &invalid) || errors.As(err, &verify) || errors.As(err, &record) ||
		strings.Contains(err.Error(), "server gave HTTP response to HTTPS client")
}

// pauses paces the repetitions of a request.
type pauses struct {
	backoff retry.Backoff
	spent   retry.Patience
	try     int
}

func newPauses() *pauses {
	p := &pauses{backoff: retry.Backoff{Min: 100 * time.Millisecond, Max: 10 * time.Second}}
	p.spent.Reset()
	return p
}

// wait pauses after a failed try. It returns an error with the cause when giveUp has passed.
func (p *pauses) wait(ctx context.Context, after, giveUp time.Duration, cause error) error {
	p.try++
	if spent := p.spent.Spent(); spent >= giveUp {
		return fmt.Errorf("%w; given up after %v", cause, spent.Round(time.Second))
	}
	d := max(p.backoff.Next(), after)
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// call sends a request until the server has answered it, and returns the status and body of the
// answer. It gives up after patience.
func (l *link) call(ctx context.Context, patience time.Duration, method, path string, body []byte) (answer, error) {
	p := newPauses()
	for {
		a, err := l.once(ctx, p.try, method, path, body)
		switch {
		case err != nil && ctx.Err() != nil:
			return a, context.Cause(ctx)
		case err != nil:
			if isCertificate(err) {
				return a, l.unreachable(err)
			}
			err = l.unreachable(err)
		case isBusy(a.status):
			err = l.refused(a)
		default:
			return a, nil
		}
		if err := p.wait(ctx, a.after, patience, err); err != nil {
			return a, err
		}
	}
}

// unreachable explains a request without an answer.
func (l *link) unreachable(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	if isCertificate(err) {
		return connector.Fatal(fmt.Errorf("search server %s: %w; name the file of its CA in %s_CA, and check the scheme of the address", l.URL, err, l.Env))
	}
	return fmt.Errorf("search server %s does not answer: %w", l.URL, err)
}

// refused turns an answer that is no success into an error with a way out. It is fatal if the same
// request cannot succeed later.
func (l *link) refused(a answer) error {
	err := fmt.Errorf("search server %s: status %d: %s", l.URL, a.status, reasonOf(a.body))
	switch {
	case a.status == http.StatusUnauthorized && l.secret == "":
		err = fmt.Errorf("%w; set %s_USER and %s_PASSWORD, or %s_API_KEY, in the environment of this program and of the workers", err, l.Env, l.Env, l.Env)
	case a.status == http.StatusUnauthorized:
		err = fmt.Errorf("%w; check the values of %s_USER and %s_PASSWORD, or %s_API_KEY", err, l.Env, l.Env, l.Env)
	case a.status == http.StatusForbidden:
		err = fmt.Errorf("%w; the user needs the right to do this, and the index must not be blocked, as it is on a full disk", err)
	case a.status/100 == 3:
		err = fmt.Errorf("%w: redirects are not followed; use the final address", err)
	}
	if isBusy(a.status) {
		return err
	}
	return connector.Fatal(err)
}

// cause is an error of the server.
type cause struct {
	Type     string `json:"type"`
	Reason   string `json:"reason"`
	CausedBy *cause `json:"caused_by"`
}

func (c *cause) String() string {
	text := c.Type + ": " + c.Reason
	for x := c.CausedBy; x != nil && len(text) < 1000; x = x.CausedBy {
		if x.Reason != "" && !strings.Contains(text, x.Reason) {
			text += ": " + x.Reason
		}
	}
	return text[:min(len(text), 1000)]
}

// reasonOf returns the server's reason in a body, or the beginning of the body.
func reasonOf(body []byte) string {
	var x struct{ Error json.RawMessage }
	var c cause
	if json.Unmarshal(body, &x) == nil && len(x.Error) > 0 {
		if json.Unmarshal(x.Error, &c) == nil && c.Type != "" {
			return c.String()
		}
		return string(x.Error[:min(len(x.Error), 300)])
	}
	text := strings.Join(strings.Fields(string(body[:min(len(body), 300)])), " ")
	return cmp.Or(text, "no reason given")
}
