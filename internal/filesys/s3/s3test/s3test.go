// Package s3test is an object store in memory for tests: the part of Amazon's protocol that package
// s3 uses. It checks MD5 sums and preconditions as a real store does, but no signatures.
package s3test

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Store is an object store. It is an http.Handler; paths are /BUCKET/KEY.
type Store struct {
	// mu guards the fields below.
	mu      sync.Mutex
	buckets map[string]map[string]object
	uploads map[string]map[int]object // by upload ID and number of the part
	started int                       // uploads
}

type object struct {
	data     []byte
	etag     string
	modified time.Time
}

func newObject(data []byte) object {
	sum := md5.Sum(data)
	return object{data, `"` + hex.EncodeToString(sum[:]) + `"`, time.Now()}
}

// New returns a store with empty buckets.
func New(buckets ...string) *Store {
	s := &Store{buckets: map[string]map[string]object{}, uploads: map[string]map[int]object{}}
	for _, name := range buckets {
		s.buckets[name] = map[string]object{}
	}
	return s
}

// Put stores an object.
func (s *Store) Put(bucket, key string, data []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.buckets[bucket][key] = newObject(data)
}

// Get returns the content of an object, nil if it does not exist.
func (s *Store) Get(bucket, key string) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buckets[bucket][key].data
}

// Keys returns the keys that begin with prefix, sorted.
func (s *Store) Keys(bucket, prefix string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.keys(bucket, prefix)
}

func (s *Store) keys(bucket, prefix string) []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(s.buckets[bucket])), func(key string) bool { return !strings.HasPrefix(key, prefix) })
}

// failure is an error response.
type failure struct {
	XMLName xml.Name `xml:"Error"`
	status  int
	Code    string
	Message string
}

var (
	noSuchKey    = &failure{status: http.StatusNotFound, Code: "NoSuchKey", Message: "The specified key does not exist."}
	noSuchBucket = &failure{status: http.StatusNotFound, Code: "NoSuchBucket", Message: "The specified bucket does not exist."}
	noSuchUpload = &failure{status: http.StatusNotFound, Code: "NoSuchUpload", Message: "The specified upload does not exist."}
	precondition = &failure{status: http.StatusPreconditionFailed, Code: "PreconditionFailed", Message: "A precondition did not hold."}
	badDigest    = &failure{status: http.StatusBadRequest, Code: "BadDigest", Message: "The Content-MD5 did not match."}
	badRequest   = &failure{status: http.StatusBadRequest, Code: "InvalidRequest", Message: "The request is not valid."}
	unsupported  = &failure{status: http.StatusNotImplemented, Code: "NotImplemented", Message: "s3test does not support this request."}
)

func (s *Store) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := readBody(r)
	if err != nil {
		answer(w, nil, badRequest)
		return
	}
	bucket, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.buckets[bucket] == nil {
		answer(w, nil, noSuchBucket)
		return
	}
	query := r.URL.Query()
	switch {
	case key == "" && r.Method == http.MethodGet && query.Get("list-type") == "2":
		answer(w, s.list(bucket, query), nil)
	case key == "" && r.Method == http.MethodPost && query.Has("delete"):
		reply, f := s.removeAll(bucket, body)
		answer(w, reply, f)
	case key == "":
		answer(w, nil, unsupported)
	case query.Has("uploads") || query.Has("uploadId"):
		s.upload(w, r, bucket, key, query, body)
	case r.Method == http.MethodGet || r.Method == http.MethodHead:
		o, ok := s.buckets[bucket][key]
		if !ok {
			answer(w, nil, noSuchKey)
			return
		}
		w.Header().Set("ETag", o.etag)
		w.Header().Set("Content-Type", "application/octet-stream")
		http.ServeContent(w, r, "", o.modified, bytes.NewReader(o.data)) // ranges and If-Match
	case r.Method == http.MethodPut && r.Header.Get("X-Amz-Copy-Source") != "":
		reply, f := s.copyObject(bucket, key, r.Header)
		answer(w, reply, f)
	case r.Method == http.MethodPut:
		s.buckets[bucket][key] = newObject(body)
		w.Header().Set("ETag", s.buckets[bucket][key].etag)
	case r.Method == http.MethodDelete:
		delete(s.buckets[bucket], key)
		w.WriteHeader(http.StatusNoContent)
	default:
		answer(w, nil, unsupported)
	}
}

func answer(w http.ResponseWriter, reply any, f *failure) {
	w.Header().Set("Content-Type", "application/xml")
	if f != nil {
		w.WriteHeader(f.status)
		reply = f
	}
	_, _ = io.WriteString(w, xml.Header)
	_ = xml.NewEncoder(w).Encode(reply)
}

// readBody returns the body of a request, without the signatures of chunks, and checks its MD5.
// Chunks are "SIZE;chunk-signature=...\r\nDATA\r\n" with a hexadecimal size; the last one is empty.
func readBody(r *http.Request) ([]byte, error) {
	if !strings.HasPrefix(r.Header.Get("X-Amz-Content-Sha256"), "STREAMING-") {
		body, err := io.ReadAll(r.Body)
		if sum := r.Header.Get("Content-Md5"); err == nil && sum != "" {
			if got := md5.Sum(body); base64.StdEncoding.EncodeToString(got[:]) != sum {
				return nil, badDigest.error()
			}
		}
		return body, err
	}
	var body []byte
	for in := bufio.NewReader(r.Body); ; {
		head, err := in.ReadString('\n')
		if err != nil {
			return nil, err
		}
		digits, _, _ := strings.Cut(strings.TrimSpace(head), ";")
		n, err := strconv.ParseInt(digits, 16, 32)
		if err != nil || n == 0 {
			return body, err
		}
		chunk := make([]byte, n+2)
		if _, err := io.ReadFull(in, chunk); err != nil {
			return nil, err
		}
		body = append(body, chunk[:n]...)
	}
}

func (f *failure) error() error { return fmt.Errorf("%s: %s", f.Code, f.Message) }

type listResult struct {
	XMLName               xml.Name `xml:"ListBucketResult"`
	Name, Prefix          string
	EncodingType          string `xml:",omitempty"`
	IsTruncated           bool
	NextContinuationToken string `xml:",omitempty"`
	Contents              []listed
	CommonPrefixes        []commonPrefix
}

type listed struct {
	Key          string
	LastModified string
	ETag         string
	Size         int
}

type commonPrefix struct{ Prefix string }

const timeFormat = "2006-01-02T15:04:05.000Z"

// list returns a page of a bucket's keys. With a delimiter, keys that have it after the prefix are
// one entry.
func (s *Store) list(bucket string, query url.Values) *listResult {
	prefix, delimiter := query.Get("prefix"), query.Get("delimiter")
	encode := func(text string) string { return text }
	if query.Get("encoding-type") == "url" {
		encode = url.QueryEscape
	}
	most, err := strconv.Atoi(query.Get("max-keys"))
	if err != nil || most > 1000 {
		most = 1000
	}
	result := &listResult{Name: bucket, Prefix: encode(prefix), EncodingType: query.Get("encoding-type")}
	last := cmp.Or(query.Get("continuation-token"), query.Get("start-after")) // the last entry of the page before
	for _, key := range s.keys(bucket, prefix) {
		entry := key
		if i := strings.Index(key[len(prefix):], delimiter); delimiter != "" && i >= 0 {
			entry = key[:len(prefix)+i+len(delimiter)]
		}
		if entry <= last {
			continue
		}
		if len(result.Contents)+len(result.CommonPrefixes) == most {
			result.IsTruncated, result.NextContinuationToken = true, last
			break
		}
		last = entry
		if entry != key || strings.HasSuffix(key, delimiter) && delimiter != "" {
			result.CommonPrefixes = append(result.CommonPrefixes, commonPrefix{encode(entry)})
			continue
		}
		o := s.buckets[bucket][key]
		result.Contents = append(result.Contents, listed{encode(key), o.modified.UTC().Format(timeFormat), o.etag, len(o.data)})
	}
	return result
}

type deleteResult struct {
	XMLName xml.Name `xml:"DeleteResult"`
	Deleted []struct{ Key string }
}

func (s *Store) removeAll(bucket string, body []byte) (*deleteResult, *failure) {
	var request struct{ Object []struct{ Key string } }
	if err := xml.Unmarshal(body, &request); err != nil {
		return nil, badRequest
	}
	result := new(deleteResult)
	for _, o := range request.Object {
		delete(s.buckets[bucket], o.Key)
		result.Deleted = append(result.Deleted, struct{ Key string }{o.Key})
	}
	return result, nil
}

type copyResult struct {
	XMLName      xml.Name `xml:"CopyObjectResult"`
	LastModified string
	ETag         string
}

func (s *Store) copyObject(bucket, key string, header http.Header) (*copyResult, *failure) {
	source, err := url.PathUnescape(strings.TrimPrefix(header.Get("X-Amz-Copy-Source"), "/"))
	if err != nil {
		return nil, badRequest
	}
	fromBucket, fromKey, _ := strings.Cut(source, "/")
	o, ok := s.buckets[fromBucket][fromKey]
	if !ok {
		return nil, noSuchKey
	}
	if etag := header.Get("X-Amz-Copy-Source-If-Match"); etag != "" && strings.Trim(etag, `"`) != strings.Trim(o.etag, `"`) {
		return nil, precondition
	}
	o.modified = time.Now()
	s.buckets[bucket][key] = o
	return &copyResult{LastModified: o.modified.UTC().Format(timeFormat), ETag: o.etag}, nil
}

type startedUpload struct {
	XMLName               xml.Name `xml:"InitiateMultipartUploadResult"`
	Bucket, Key, UploadId string
}

type completedUpload struct {
	XMLName           xml.Name `xml:"CompleteMultipartUploadResult"`
	Bucket, Key, ETag string
}

// upload starts, continues, completes or aborts a multipart upload.
func (s *Store) upload(w http.ResponseWriter, r *http.Request, bucket, key string, query url.Values, body []byte) {
	if r.Method == http.MethodPost && query.Has("uploads") {
		s.started++
		id := fmt.Sprint("upload-", s.started)
		s.uploads[id] = map[int]object{}
		answer(w, &startedUpload{Bucket: bucket, Key: key, UploadId: id}, nil)
		return
	}
	id := query.Get("uploadId")
	parts, ok := s.uploads[id]
	if !ok {
		answer(w, nil, noSuchUpload)
		return
	}
	switch r.Method {
	case http.MethodPut:
		number, err := strconv.Atoi(query.Get("partNumber"))
		if err != nil || r.Header.Get("X-Amz-Copy-Source") != "" {
			answer(w, nil, unsupported)
			return
		}
		parts[number] = newObject(body)
		w.Header().Set("ETag", parts[number].etag)
	case http.MethodDelete:
		delete(s.uploads, id)
		w.WriteHeader(http.StatusNoContent)
	case http.MethodPost:
		var request struct {
			Part []struct {
				PartNumber int
				ETag       string
			}
		}
		if err := xml.Unmarshal(body, &request); err != nil {
			answer(w, nil, badRequest)
			return
		}
		var data, sums []byte
		for _, p := range request.Part {
			part, ok := parts[p.PartNumber]
			if !ok || strings.Trim(p.ETag, `"`) != strings.Trim(part.etag, `"`) {
				answer(w, nil, badRequest)
				return
			}
			data = append(data, part.data...)
			sum := md5.Sum(part.data)
			sums = append(sums, sum[:]...)
		}
		sum := md5.Sum(sums)
		o := object{data, fmt.Sprintf(`"%x-%d"`, sum, len(request.Part)), time.Now()}
		s.buckets[bucket][key] = o
		delete(s.uploads, id)
		answer(w, &completedUpload{Bucket: bucket, Key: key, ETag: o.etag}, nil)
	default:
		answer(w, nil, unsupported)
	}
}
