// SPDX-License-Identifier: LGPL-3.0-or-later

package config

import (
	"fmt"
	"net"
	"strconv"
	"strings"
)

// Endpoint is an address that the node listens on.
type Endpoint struct {
	Network  string // tcp or udp
	Host     string // empty: all addresses of the machine
	Port     uint16 // zero: the system chooses
	HostFlag string // that decides Host, without dashes; empty: none
	PortFlag string // likewise
}

// String is host and port.
func (e Endpoint) String() string { return net.JoinHostPort(e.Host, strconv.Itoa(int(e.Port))) }

// Endpoints are all that are enabled, those of devp2p first. HTTP and WebSocket may share one.
func (c *Config) Endpoints() []Endpoint {
	list := []Endpoint{{Network: "tcp", Port: c.P2P.Port, PortFlag: "port"}}
	switch {
	case c.P2P.NoDiscovery || !c.P2P.DiscoveryV4 && !c.P2P.DiscoveryV5:
	case c.P2P.DiscoveryPort != 0:
		list = append(list, Endpoint{Network: "udp", Port: c.P2P.DiscoveryPort, PortFlag: "discovery.port"})
	default:
		list = append(list, Endpoint{Network: "udp", Port: c.P2P.Port, PortFlag: "port"})
	}
	add := func(enabled bool, prefix, host string, port uint16) {
		if enabled {
			list = append(list, Endpoint{"tcp", host, port, prefix + ".addr", prefix + ".port"})
		}
	}
	shared := c.HTTP.Enabled && c.WS.Addr == c.HTTP.Addr && c.WS.Port == c.HTTP.Port
	add(true, "authrpc", c.Engine.Addr, c.Engine.Port)
	add(c.HTTP.Enabled, "http", c.HTTP.Addr, c.HTTP.Port)
	add(c.WS.Enabled && !shared, "ws", c.WS.Addr, c.WS.Port)
	add(c.Metrics.Enabled, "metrics", c.Metrics.Addr, c.Metrics.Port)
	add(c.Page.Enabled, "page", c.Page.Addr, c.Page.Port)
	return list
}

// checkPorts finds two servers on one address, which would fail only at start.
func (c *Config) checkPorts() error {
	if c.HTTP.Enabled && c.WS.Enabled && c.HTTP.Port == c.WS.Port && c.HTTP.Port != 0 && c.HTTP.Addr != c.WS.Addr {
		return fmt.Errorf("bad value %q for --ws.addr: --http.addr is %q, but both have port %d", c.WS.Addr, c.HTTP.Addr, c.WS.Port)
	}
	taken := make(map[string]string)
	for _, e := range c.Endpoints() {
		if e.Port == 0 {
			continue
		}
		key := e.Network + " " + strings.Replace(e.String(), "localhost", "127.0.0.1", 1)
		if other, ok := taken[key]; ok {
			return fmt.Errorf("bad value \"%d\" for --%s: --%s has the same address", e.Port, e.PortFlag, other)
		}
		taken[key] = e.PortFlag
	}
	return nil
}
