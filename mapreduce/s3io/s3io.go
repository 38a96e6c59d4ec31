// Package s3io lets a program read and write s3://BUCKET/KEY paths with all sources and sinks. Import
// it for that effect:
//
//	import _ "github.com/layshaft/layshaft/mapreduce/s3io"
//
// A program that does not import it contains no code for object stores. On a cluster the program opens
// objects itself, in the process that submits the job and in the children of workers, so workers and
// coordinator need nothing.
//
// The environment of these processes names the store and the credentials: AWS_ACCESS_KEY_ID,
// AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, else ~/.aws/credentials (AWS_PROFILE), else the role of the
// machine; AWS_REGION; and LAYSHAFT_S3_ENDPOINT or AWS_ENDPOINT_URL for a store that is not Amazon's, such
// as https://minio.example:9000.
package s3io

import (
	"github.com/layshaft/layshaft/internal/filesys"
	"github.com/layshaft/layshaft/internal/filesys/s3"
)

func init() { filesys.Register("s3", &s3.FS{}) }
