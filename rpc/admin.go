// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"errors"

	gethp2p "github.com/ethereum/go-ethereum/p2p"
	"github.com/ethereum/go-ethereum/p2p/enode"
)

var errNetworkDisabled = errors.New("the peer-to-peer network is disabled")

// adminAPI is the admin namespace.
type adminAPI struct{ b *backend }

// NodeInfo returns the identity and the protocols of this node.
func (api *adminAPI) NodeInfo() (*gethp2p.NodeInfo, error) {
	if api.b.Network == nil {
		return nil, errNetworkDisabled
	}
	return api.b.Network.NodeInfo(), nil
}

// Peers returns the connected peers.
func (api *adminAPI) Peers() ([]*gethp2p.PeerInfo, error) {
	if api.b.Network == nil {
		return nil, errNetworkDisabled
	}
	return append([]*gethp2p.PeerInfo{}, api.b.Network.PeersInfo()...), nil
}

// AddPeer makes a node a static peer: the node connects, and reconnects when the connection breaks.
func (api *adminAPI) AddPeer(url string) (bool, error) {
	return api.peer(url, func(node *enode.Node) { api.b.Network.AddPeer(node) })
}

// RemovePeer disconnects a peer and does not reconnect.
func (api *adminAPI) RemovePeer(url string) (bool, error) {
	return api.peer(url, func(node *enode.Node) { api.b.Network.RemovePeer(node) })
}

// AddTrustedPeer lets a node connect when all slots are taken.
func (api *adminAPI) AddTrustedPeer(url string) (bool, error) {
	return api.peer(url, func(node *enode.Node) { api.b.Network.AddTrustedPeer(node) })
}

// RemoveTrustedPeer undoes AddTrustedPeer. It does not disconnect.
func (api *adminAPI) RemoveTrustedPeer(url string) (bool, error) {
	return api.peer(url, func(node *enode.Node) { api.b.Network.RemoveTrustedPeer(node) })
}

func (api *adminAPI) peer(url string, do func(*enode.Node)) (bool, error) {
	if api.b.Network == nil {
		return false, errNetworkDisabled
	}
	node, err := enode.Parse(enode.ValidSchemes, url)
	if err != nil {
		return false, invalidParams("invalid enode: %v", err)
	}
	do(node)
	return true, nil
}

// Datadir returns the data directory.
func (api *adminAPI) Datadir() string { return api.b.cfg.Identity.DataDir }
