// Package s3 makes a file system of an object store with Amazon's protocol: s3://BUCKET/KEY.
//
// A directory exists as long as there are keys below it. A file appears when its Writer is closed.
// Small files take one request, others a multipart upload, which is removed after a failure. Rename
// consists of a copy within the store and a removal. So the store copies every committed file of a
// sink once: files are written under names of their attempts, copied to their final names, and the
// manifest comes last.
//
// An open file is read in the version that was opened; if it is replaced, reads return an error.
// Configuration:
//
//   - credentials: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, otherwise
//     ~/.aws/credentials (AWS_PROFILE), otherwise the machine's role
//   - region: AWS_REGION
//   - endpoint, if not Amazon's: LAYSHAFT_S3_ENDPOINT or AWS_ENDPOINT_URL, such as
//     https://minio.example:9000
package s3

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/layshaft/layshaft/internal/filesys"
)

// FS is the file system of s3:// paths. The zero value is configured from the environment on first
// use.
type FS struct {
	// Patience is how long reads are retried when the store does not answer. Zero means 30 s.
	Patience time.Duration
	// Getenv looks up environment variables. Nil means os.Getenv.
	Getenv func(name string) string

	once   sync.Once
	core   *minio.Core
	host   string
	failed error
}

// client connects to the store.
func (f *FS) client(p string) (*minio.Core, error) {
	f.once.Do(func() {
		env := f.Getenv
		if env == nil {
			env = os.Getenv
		}
		endpoint := env("LAYSHAFT_S3_ENDPOINT")
		if endpoint == "" {
			endpoint = env("AWS_ENDPOINT_URL")
		}
		// Only Amazon's machines have a role: elsewhere no service would answer the request for it.
		providers := []credentials.Provider{&credentials.EnvAWS{}, &credentials.FileAWSCredentials{}}
		if endpoint == "" {
			endpoint = "https://s3.amazonaws.com"
			providers = append(providers, &credentials.IAM{})
		}
		if id := env("AWS_ACCESS_KEY_ID"); id != "" {
			providers = []credentials.Provider{&credentials.Static{Value: credentials.Value{AccessKeyID: id,
				SecretAccessKey: env("AWS_SECRET_ACCESS_KEY"), SessionToken: env("AWS_SESSION_TOKEN"), SignerType: credentials.SignatureV4}}}
		}
		u, err := url.Parse(endpoint)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || strings.Trim(u.Path, "/") != "" {
			f.failed = fmt.Errorf("endpoint %q: write it as https://HOST:PORT in LAYSHAFT_S3_ENDPOINT: %w", endpoint, fs.ErrInvalid)
			return
		}
		region := env("AWS_REGION")
		if region == "" {
			region = env("AWS_DEFAULT_REGION")
		}
		f.host = u.Host
		f.core, f.failed = minio.NewCore(u.Host, &minio.Options{Creds: credentials.NewChainCredentials(providers), Secure: u.Scheme == "https", Region: region, MaxRetries: 6})
	})
	if f.failed != nil {
		return nil, &filesys.Error{Path: p, Err: f.failed}
	}
	return f.core, nil
}

// splitPath returns the store, the bucket and the key of a path.
func (f *FS) splitPath(p string) (c *minio.Core, bucket, key string, err error) {
	bucket, key = filesys.Cut(filesys.Clean(p))
	if filesys.Scheme(p) != "s3" || bucket == "" || strings.ContainsAny(bucket, "@\x00") || strings.ContainsRune(key, 0) {
		return nil, "", "", &filesys.Error{Path: fmt.Sprintf("%q", p), Err: fs.ErrInvalid, Help: "write s3://BUCKET/KEY"}
	}
	c, err = f.client(p)
	return c, bucket, key, err
}

// explain adds the path and advice to an error of the store.
func (f *FS) explain(ctx context.Context, p string, err error) error {
	var own *filesys.Error
	switch {
	case err == nil || errors.As(err, &own):
		return err
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	var resp minio.ErrorResponse
	if !errors.As(err, &resp) || resp.StatusCode >= 500 {
		return &filesys.Error{Path: p, Err: fmt.Errorf("%s %w: %w", f.host, filesys.ErrGone, err), Help: "check LAYSHAFT_S3_ENDPOINT and the network"}
	}
	switch {
	case resp.StatusCode == 404:
		help := "check bucket and key"
		if resp.Code == minio.NoSuchBucket {
			help = "make the bucket, or name another"
		}
		return &filesys.Error{Path: p, Err: fmt.Errorf("%w at %s", fs.ErrNotExist, f.host), Help: help}
	case resp.StatusCode == 401 || resp.StatusCode == 403:
		return &filesys.Error{Path: p, Err: fmt.Errorf("%w at %s: %s", fs.ErrPermission, f.host, resp.Error()), Help: "set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION for this bucket"}
	case resp.StatusCode == 412:
		return &filesys.Error{Path: p, Err: filesys.ErrChanged, Help: "run the job again when it is complete"}
	}
	return &filesys.Error{Path: p, Err: fmt.Errorf("%s: %w", f.host, err)}
}

func isMissing(err error) bool {
	var resp minio.ErrorResponse
	return errors.As(err, &resp) && resp.StatusCode == 404
}

// infoOf drops fractions of seconds: lists have them, other answers do not.
func infoOf(p string, o minio.ObjectInfo) filesys.Info {
	return filesys.Info{Path: p, Size: o.Size, ModTime: o.LastModified.Truncate(time.Second), Version: o.ETag}
}

// list passes the objects whose keys start with prefix to each.
func (f *FS) list(ctx context.Context, c *minio.Core, bucket, prefix string, deep bool, each func(minio.ObjectInfo) bool) error {
	ctx, cancel := context.WithCancel(ctx) // ends the lister
	defer cancel()
	for o := range c.ListObjectsIter(ctx, bucket, minio.ListObjectsOptions{Prefix: prefix, Recursive: deep}) {
		if o.Err != nil {
			return o.Err
		}
		if !each(o) {
			return nil
		}
	}
	return ctx.Err()
}

// Glob lists files.
func (f *FS) Glob(ctx context.Context, pattern string) ([]filesys.Info, error) {
	c, bucket, key, err := f.splitPath(pattern)
	if err != nil {
		return nil, err
	}
	if key != "" {
		o, err := c.StatObject(ctx, bucket, key, minio.StatObjectOptions{})
		if err == nil {
			return []filesys.Info{infoOf(filesys.Clean(pattern), o)}, nil
		}
		if !isMissing(err) {
			return nil, f.explain(ctx, pattern, err)
		}
	}
	m, err := filesys.NewMatcher(key)
	if err != nil {
		return nil, &filesys.Error{Path: pattern, Err: filesys.Cause(err), Help: "globs are written with * ? [a-z] {a,b} and **"}
	}
	var out []filesys.Info
	var odd error
	err = f.list(ctx, c, bucket, m.Prefix(), true, func(o minio.ObjectInfo) bool {
		matches, hidden := m.Match(o.Key)
		if strings.HasSuffix(o.Key, "/") || !matches {
			return true
		}
		p := "s3://" + bucket + "/" + o.Key
		if filesys.Clean(p) != p {
			odd = &filesys.Error{Path: p, Err: fs.ErrInvalid, Help: "a key with empty or dotted names cannot be a path: rename the object, or leave it out"}
			return false
		}
		i := infoOf(p, o)
		if hidden {
			i.LeftOut = filesys.LeftHidden
		}
		out = append(out, i)
		return true
	})
	switch {
	case odd != nil:
		return nil, odd
	case err != nil:
		return nil, f.explain(ctx, pattern, err)
	case len(out) == 0 && !filesys.HasMeta(key):
		return nil, &filesys.Error{Path: pattern, Err: fmt.Errorf("%w at %s", fs.ErrNotExist, f.host), Help: "check bucket and key"}
	}
	slices.SortFunc(out, func(a, b filesys.Info) int { return strings.Compare(a.Path, b.Path) })
	return out, nil
}

// Stat returns a description of path.
func (f *FS) Stat(ctx context.Context, p string) (filesys.Info, error) {
	c, bucket, key, err := f.splitPath(p)
	if err != nil {
		return filesys.Info{}, err
	}
	if key != "" {
		o, err := c.StatObject(ctx, bucket, key, minio.StatObjectOptions{})
		if err == nil {
			return infoOf(p, o), nil
		}
		if !isMissing(err) {
			return filesys.Info{}, f.explain(ctx, p, err)
		}
		key += "/"
	}
	found := key == ""
	if err := f.list(ctx, c, bucket, key, false, func(minio.ObjectInfo) bool { found = true; return false }); err != nil {
		return filesys.Info{}, f.explain(ctx, p, err)
	}
	if !found {
		return filesys.Info{}, &filesys.Error{Path: p, Err: fmt.Errorf("%w at %s", fs.ErrNotExist, f.host), Help: "check bucket and key"}
	}
	return filesys.Info{Path: p, Mode: fs.ModeDir}, nil
}

// ReadDir lists a directory. A directory without keys is empty.
func (f *FS) ReadDir(ctx context.Context, dir string) ([]filesys.Info, error) {
	c, bucket, key, err := f.splitPath(dir)
	if err != nil {
		return nil, err
	}
	if key != "" {
		key += "/"
	}
	var out []filesys.Info
	err = f.list(ctx, c, bucket, key, false, func(o minio.ObjectInfo) bool {
		name, isDir := strings.CutSuffix(o.Key, "/")
		if o.Key == key {
			return true // a marker for the directory itself
		}
		info := infoOf(filesys.Join(dir, path.Base(name)), o)
		if isDir {
			info.Mode = fs.ModeDir
		}
		out = append(out, info)
		return true
	})
	slices.SortFunc(out, func(a, b filesys.Info) int { return strings.Compare(a.Path, b.Path) })
	return out, f.explain(ctx, dir, err)
}

// copyMost is the largest object that the store copies in one request, in bytes.
const copyMost = 5 << 30

// Rename copies the object within the store, and removes the old one.
func (f *FS) Rename(ctx context.Context, from, to string) error {
	c, bucket, key, err := f.splitPath(from)
	if err != nil {
		return err
	}
	_, toBucket, toKey, err := f.splitPath(to)
	if err != nil {
		return err
	}
	o, err := c.StatObject(ctx, bucket, key, minio.StatObjectOptions{})
	if err != nil {
		return f.explain(ctx, from, err)
	}
	src := minio.CopySrcOptions{Bucket: bucket, Object: key, MatchETag: o.ETag}
	dst := minio.CopyDestOptions{Bucket: toBucket, Object: toKey}
	if o.Size <= copyMost {
		_, err = c.Client.CopyObject(ctx, dst, src)
	} else {
		_, err = c.ComposeObject(ctx, dst, src)
	}
	if err != nil {
		return f.explain(ctx, from, err)
	}
	return f.Remove(ctx, from)
}

// Remove deletes an object.
func (f *FS) Remove(ctx context.Context, p string) error {
	c, bucket, key, err := f.splitPath(p)
	if err != nil {
		return err
	}
	if err := c.RemoveObject(ctx, bucket, key, minio.RemoveObjectOptions{}); err != nil && !isMissing(err) {
		return f.explain(ctx, p, err)
	}
	return nil
}

// RemoveAll deletes an object and everything below it.
func (f *FS) RemoveAll(ctx context.Context, p string) error {
	c, bucket, key, err := f.splitPath(p)
	if err != nil {
		return err
	}
	if key == "" {
		return &filesys.Error{Path: p, Err: fmt.Errorf("a bucket cannot be removed: %w", fs.ErrInvalid)}
	}
	if err := f.Remove(ctx, p); err != nil {
		return err
	}
	var keys []minio.ObjectInfo
	if err := f.list(ctx, c, bucket, key+"/", true, func(o minio.ObjectInfo) bool { keys = append(keys, o); return true }); err != nil {
		return f.explain(ctx, p, err)
	}
	if len(keys) == 0 {
		return nil
	}
	results, err := c.RemoveObjectsWithIter(ctx, bucket, slices.Values(keys), minio.RemoveObjectsOptions{})
	if err != nil {
		return f.explain(ctx, p, err)
	}
	for r := range results {
		if r.Err != nil && !isMissing(r.Err) && err == nil {
			err = f.explain(ctx, "s3://"+bucket+"/"+r.ObjectName, r.Err)
		}
	}
	return err
}

// MkdirAll does nothing: directories need no creation.
func (f *FS) MkdirAll(_ context.Context, p string) error {
	_, _, _, err := f.splitPath(p)
	return err
}

// Sync does nothing: the store answers when a change is on its disks.
func (f *FS) Sync(context.Context, string) error { return nil }
