// SPDX-License-Identifier: LGPL-3.0-or-later

package bench

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"

	"github.com/ethereum/go-ethereum/p2p/enode"
)

func tcpAddress(node *enode.Node) string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(node.TCP()))
}

// atAddress is the same node as it is reached through a proxy.
func atAddress(node *enode.Node, addr string) (*enode.Node, error) {
	at, err := netip.ParseAddrPort(addr)
	if err != nil {
		return nil, fmt.Errorf("proxy address: %w", err)
	}
	return enode.NewV4(node.Pubkey(), net.IP(at.Addr().AsSlice()), int(at.Port()), 0), nil
}
