// Package s3io adds s3://BUCKET/KEY paths to all sources and sinks of a program. Import it for
// this effect:
//
//	import _ "github.com/layshaft/layshaft/mapreduce/s3io"
//
// Programs without this import contain no code for object stores. On a cluster, the program
// itself opens objects: in the process that submits the job, and in the children of workers.
// Workers and coordinator need nothing.
//
// The environment of these processes configures the store. Credentials are AWS_ACCESS_KEY_ID,
// AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, else ~/.aws/credentials (AWS_PROFILE), else the
// role of the machine. AWS_REGION is the region. LAYSHAFT_S3_ENDPOINT or AWS_ENDPOINT_URL name a
// store other than Amazon's, such as https://minio.example:9000.
package s3io

import (
	"github.com/layshaft/layshaft/internal/filesys"
	"github.com/layshaft/layshaft/internal/filesys/s3"
)

func init() { filesys.Register("s3", &s3.FS{}) }
