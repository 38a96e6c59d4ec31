package security

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
)

// peerUser returns the user who owns the socket of a TCP connection with this local and remote
// address. The socket must be on this machine.
func peerUser(local, remote net.Addr) (int, error) {
	l, okL := local.(*net.TCPAddr)
	r, okR := remote.(*net.TCPAddr)
	if !okL || !okR {
		return 0, fmt.Errorf("%v is not a TCP address", local)
	}
	// A client of 127.0.0.1 may use an IPv6 socket.
	for _, table := range []struct {
		file string
		ip   func(net.IP) net.IP
	}{{"/proc/net/tcp", net.IP.To4}, {"/proc/net/tcp6", net.IP.To16}} {
		a, b := table.ip(l.IP), table.ip(r.IP)
		if a == nil || b == nil {
			continue
		}
		uid, found, err := findSocket(table.file, endpoint(a, l.Port)+" "+endpoint(b, r.Port))
		if found || err != nil && !os.IsNotExist(err) {
			return uid, err
		}
	}
	return 0, fmt.Errorf("no process of this machine has a connection from %v", local)
}

// endpoint formats an address as in /proc/net/tcp: 32-bit numbers in the byte order of the machine.
func endpoint(ip net.IP, port int) string {
	var b strings.Builder
	for ; len(ip) > 0; ip = ip[4:] {
		fmt.Fprintf(&b, "%08X", binary.NativeEndian.Uint32(ip))
	}
	fmt.Fprintf(&b, ":%04X", port)
	return b.String()
}

// findSocket finds the socket with these endpoints in a table of the kernel.
func findSocket(file, endpoints string) (uid int, found bool, err error) {
	f, err := os.Open(file)
	if err != nil {
		return 0, false, err
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		// sl local remote st queues timer retransmits uid
		if !strings.Contains(lines.Text(), endpoints) {
			continue
		}
		fields := strings.Fields(lines.Text())
		if len(fields) < 8 || fields[1]+" "+fields[2] != endpoints {
			continue
		}
		uid, err := strconv.Atoi(fields[7])
		return uid, err == nil, err
	}
	return 0, false, nil
}
