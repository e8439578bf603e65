package rpc

import (
	"errors"

	gethp2p "github.com/ethereum/go-ethereum/p2p"
	"github.com/ethereum/go-ethereum/p2p/enode"
)

var (
	errNoNetwork = errors.New("this node has no peer-to-peer network")
	errNoBeam    = errors.New("this node does not sync")
)

// adminAPI is the admin namespace.
type adminAPI struct{ b *backend }

// NodeInfo returns what this node tells its peers.
func (api *adminAPI) NodeInfo() (*gethp2p.NodeInfo, error) {
	if api.b.Network == nil {
		return nil, errNoNetwork
	}
	return api.b.Network.NodeInfo(), nil
}

// Peers returns what is known of each peer.
func (api *adminAPI) Peers() ([]*gethp2p.PeerInfo, error) {
	if api.b.Network == nil {
		return nil, errNoNetwork
	}
	return append([]*gethp2p.PeerInfo{}, api.b.Network.PeersInfo()...), nil
}

// AddPeer keeps a connection to a node from now on.
func (api *adminAPI) AddPeer(url string) (bool, error) {
	return api.peer(url, func(node *enode.Node) { api.b.Network.AddPeer(node) })
}

// RemovePeer ends a connection and does not renew it.
func (api *adminAPI) RemovePeer(url string) (bool, error) {
	return api.peer(url, func(node *enode.Node) { api.b.Network.RemovePeer(node) })
}

func (api *adminAPI) peer(url string, do func(*enode.Node)) (bool, error) {
	if api.b.Network == nil {
		return false, errNoNetwork
	}
	node, err := enode.Parse(enode.ValidSchemes, url)
	if err != nil {
		return false, invalidParams("invalid enode: %v", err)
	}
	do(node)
	return true, nil
}

// Datadir returns the directory that the node keeps its files in.
func (api *adminAPI) Datadir() string { return api.b.cfg.Identity.DataDir }
