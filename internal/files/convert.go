package files

import "github.com/layshaft/layshaft/internal/job"

// split has the fields of connector.Split, which this package cannot import.
type split interface {
	~struct {
		Label string
		Bytes int64
		Hosts []string
		Note  string
		Data  []byte
	}
}

// Convert converts splits to the type that a source returns: connector.Split. It passes err
// through, so that it can take both results of Splits.
func Convert[S split](splits []job.Split, err error) ([]S, error) {
	if err != nil {
		return nil, err
	}
	converted := make([]S, len(splits))
	for i, s := range splits {
		converted[i] = S(s)
	}
	return converted, nil
}
