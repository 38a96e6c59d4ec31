package security

import (
	"fmt"
	"log/slog"
	"net"
)

// CheckListen returns an error if a process may not listen on addr, host:port. A loopback address
// needs no protection. Any other address needs protection or insecure, which logs a warning. flag
// is the name of the option with addr; protection names the options that protect it.
func CheckListen(flag, addr string, protected, insecure bool, protection string, log *slog.Logger) error {
	if _, _, err := net.SplitHostPort(addr); err != nil {
		return fmt.Errorf("-%s %s: %w; write host:port, such as 127.0.0.1:7070", flag, addr, err)
	}
	switch {
	case protected || Loopback(addr):
		return nil
	case insecure:
		log.Warn("INSECURE: everyone with access to this address can run code on this cluster and read its data", "flag", flag, "address", addr)
		return nil
	}
	return fmt.Errorf("-%s %s is reachable from other machines and not protected: give %s, or listen on 127.0.0.1, or set -insecure on a network where everyone is trusted",
		flag, addr, protection)
}

// Loopback reports whether addr, host:port, is reachable only from this machine. An empty host
// means all addresses.
func Loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
