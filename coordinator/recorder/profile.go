package recorder

import (
	"errors"
	"io/fs"
	"strings"

	"github.com/layshaft/layshaft/internal/job"
)

// ProfilePrefix begins the names of the files with CPU profiles.
const ProfilePrefix = "profiles/"

// profileOf returns the name of the file with the CPU profile of a job.
func profileOf(id job.ID) string {
	return ProfilePrefix + strings.TrimSuffix(strings.TrimPrefix(filesOf(id), Prefix), ".")
}

// PutProfile stores the CPU profile of a job until Forget, in place of an earlier one. It returns
// when the profile is durable, and an error if this recorder has no files.
func (r *Recorder) PutProfile(id job.ID, profile []byte) error {
	if r.files == nil {
		return errors.New("this coordinator keeps no profiles")
	}
	r.writing.Lock()
	defer r.writing.Unlock()
	return r.files.Write(profileOf(id), profile)
}

// Profile returns the CPU profile of a job. It returns fs.ErrNotExist without one.
func (r *Recorder) Profile(id job.ID) ([]byte, error) {
	if r.files == nil {
		return nil, fs.ErrNotExist
	}
	return r.files.Read(profileOf(id))
}
