// SPDX-License-Identifier: LGPL-3.0-or-later

package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"

	"github.com/sunbeam-eth/sunbeam/config"
)

// checkEndpoints listens on each address of a node for a moment if its datadir is not there yet: it is not made for a node that
// cannot start.
func checkEndpoints(ctx context.Context, cfg *config.Config) error {
	if _, err := os.Stat(cfg.InstanceDir()); err == nil {
		return nil // perhaps of a node that runs, which the lock finds
	}
	for _, e := range cfg.Endpoints() {
		if err := tryEndpoint(ctx, e); err != nil {
			return listenError(e, err)
		}
	}
	return nil
}

func tryEndpoint(ctx context.Context, e config.Endpoint) error {
	if e.Network == "udp" {
		conn, err := new(net.ListenConfig).ListenPacket(ctx, e.Network, e.String())
		if err != nil {
			return err
		}
		return conn.Close()
	}
	listener, err := new(net.ListenConfig).Listen(ctx, e.Network, e.String())
	if err != nil {
		return err
	}
	return listener.Close()
}

// nameFlags says of an error of a server which flags choose another address for it, if it cannot listen.
func nameFlags(cfg *config.Config, err error) error {
	var failed *net.OpError
	if !errors.As(err, &failed) || failed.Op != "listen" || failed.Addr == nil {
		return err
	}
	for _, e := range cfg.Endpoints() {
		if e.Network == failed.Addr.Network() && sameAddress(e, failed.Addr.String()) {
			return listenError(e, err)
		}
	}
	return err
}

// sameAddress says whether an address, with an IP address as its host, is that of an endpoint.
func sameAddress(e config.Endpoint, address string) bool {
	own, err := net.ResolveTCPAddr("tcp", e.String())
	other, errOther := net.ResolveTCPAddr("tcp", address)
	if err != nil || errOther != nil || own.Port != other.Port {
		return false
	}
	everywhere := func(ip net.IP) bool { return ip == nil || ip.IsUnspecified() }
	return own.IP.Equal(other.IP) || everywhere(own.IP) && everywhere(other.IP)
}

func listenError(e config.Endpoint, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%w: another process uses this port, choose another one with --%s", err, e.PortFlag)
	case errors.Is(err, syscall.EADDRNOTAVAIL) && e.HostFlag != "":
		return fmt.Errorf("%w: bad value %q for --%s: it is no address of this machine", err, e.Host, e.HostFlag)
	case e.HostFlag != "":
		return fmt.Errorf("%w: see --%s and --%s", err, e.HostFlag, e.PortFlag)
	}
	return fmt.Errorf("%w: see --%s", err, e.PortFlag)
}
