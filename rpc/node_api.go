package rpc

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	gethp2p "github.com/ethereum/go-ethereum/p2p"
	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/ethereum/go-ethereum/rlp"
	gethrpc "github.com/ethereum/go-ethereum/rpc"
)

var (
	errNoNetwork = errors.New("this node has no peer-to-peer network")
	errNoBeam    = errors.New("this node does not sync")
)

// netAPI is the net namespace.
type netAPI struct{ b *backend }

// Listening is always true.
func (api *netAPI) Listening() bool { return true }

// PeerCount returns the number of connected peers.
func (api *netAPI) PeerCount() hexutil.Uint {
	if api.b.Network == nil {
		return 0
	}
	return hexutil.Uint(len(api.b.Network.PeersInfo()))
}

// Version returns the network id in decimal.
func (api *netAPI) Version() string { return strconv.FormatUint(api.b.cfg.Identity.NetworkID, 10) }

// web3API is the web3 namespace.
type web3API struct{ b *backend }

// ClientVersion returns the client's name and version.
func (api *web3API) ClientVersion() string { return api.b.cfg.Identity.Name }

// Sha3 returns the keccak256 of the input.
func (api *web3API) Sha3(input hexutil.Bytes) hexutil.Bytes { return crypto.Keccak256(input) }

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

// debugAPI is the debug namespace: blocks in their consensus encoding.
type debugAPI struct{ b *backend }

// GetRawHeader returns the RLP of a header, nothing for a number that does not exist yet.
func (api *debugAPI) GetRawHeader(at gethrpc.BlockNumberOrHash) (hexutil.Bytes, error) {
	header, err := api.b.headerAt(at)
	if errors.Is(err, errNoHeader) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return rlp.EncodeToBytes(header)
}

// GetRawBlock returns the RLP of a block, nothing for a number that does not exist yet.
func (api *debugAPI) GetRawBlock(at gethrpc.BlockNumberOrHash) (hexutil.Bytes, error) {
	block, err := api.blockAt(at)
	if block == nil || err != nil {
		return nil, err
	}
	return rlp.EncodeToBytes(block)
}

// blockAt finds a block; an unknown hash is an error here.
func (api *debugAPI) blockAt(at gethrpc.BlockNumberOrHash) (*types.Block, error) {
	block, err := api.b.blockAt(at)
	if hash, ok := at.Hash(); ok && block == nil && err == nil {
		err = fmt.Errorf("block %s not found", hash.Hex())
	}
	return block, err
}

// GetRawReceipts returns the receipts of a block in their consensus encoding.
func (api *debugAPI) GetRawReceipts(at gethrpc.BlockNumberOrHash) ([]hexutil.Bytes, error) {
	block, err := api.blockAt(at)
	if block == nil || err != nil {
		return nil, err
	}
	receipts, err := api.b.receipts(block)
	if err != nil {
		return nil, err
	}
	encoded := make([]hexutil.Bytes, len(receipts))
	for i, receipt := range receipts {
		if encoded[i], err = receipt.MarshalBinary(); err != nil {
			return nil, fmt.Errorf("receipt %d: %w", i, err)
		}
	}
	return encoded, nil
}

// GetRawTransaction returns a canonical transaction in its network encoding.
func (api *debugAPI) GetRawTransaction(hash common.Hash) (hexutil.Bytes, error) {
	return (&chainAPI{api.b}).GetRawTransactionByHash(hash)
}

// beamAPI is the beam namespace, our own.
type beamAPI struct{ b *backend }

// Status returns an object about syncing: how far it is, what it costs, what it waits for.
func (api *beamAPI) Status() (any, error) {
	if api.b.Beam == nil {
		return nil, errNoBeam
	}
	return api.b.Beam.Status(), nil
}
