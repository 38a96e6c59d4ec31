// Package addresses reads lists of coordinator addresses and connects to one of them.
//
// A cluster may be reached at several addresses, of which some are dead at a time. A Conn tries
// them in turn, stays with the first that answers, and looks again when that connection breaks:
//
//	list, err := addresses.Parse("c1:7070,c2:7070")
//	conn, err := addresses.Open(list, nil, options...)
package addresses

import (
	"fmt"
	"net"
	"slices"
	"strings"
)

// List is the addresses of one cluster's coordinators, in the order of trying, without repetitions.
type List []string

// Parse reads addresses separated by commas, each HOST:PORT. The error names the wrong one.
func Parse(text string) (List, error) {
	list := Split(text)
	if len(list) == 0 {
		list = List{""} // which is wrong
	}
	for _, a := range list {
		_, port, err := net.SplitHostPort(a)
		where := ""
		if a != strings.TrimSpace(text) {
			where = fmt.Sprintf(" in %q", text)
		}
		if err != nil {
			return nil, fmt.Errorf("%q%s is not HOST:PORT, such as 127.0.0.1:7070; commas separate several addresses", a, where)
		}
		if _, err := net.LookupPort("tcp", port); err != nil {
			return nil, fmt.Errorf("%q%s: the port must be a number up to 65535", a, where)
		}
	}
	return list, nil
}

// Split is Parse for the addresses of a dialer of the caller, which may have any form. It leaves
// out empty ones.
func Split(text string) List {
	var list List
	for a := range strings.SplitSeq(text, ",") {
		if a = strings.TrimSpace(a); a != "" && !slices.Contains(list, a) {
			list = append(list, a)
		}
	}
	return list
}

// String returns the list as Parse reads it.
func (l List) String() string { return strings.Join(l, ",") }
