// SPDX-License-Identifier: LGPL-3.0-or-later

package main

import (
	"context"
	"fmt"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/consensus/beacon"
	"github.com/ethereum/go-ethereum/consensus/ethash"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/forkid"
	"github.com/ethereum/go-ethereum/core/rawdb"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/core/vm"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/eth/protocols/eth"
	"github.com/ethereum/go-ethereum/p2p"
	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/ethereum/go-ethereum/params"
)

// backend is what geth's eth protocol stands on: a chain that is at its genesis, and a pool without transactions.
// It is good for one connection.
type backend struct {
	server  *p2p.Server
	chain   *core.BlockChain
	network uint64

	met   chan *eth.Peer // after the handshake
	ended chan error     // why the connection ended, or why there was no handshake
}

func newBackend(genesis *core.Genesis) (*backend, error) {
	db := rawdb.NewMemoryDatabase()
	if _, err := genesis.Commit(db); err != nil {
		return nil, fmt.Errorf("genesis: %w", err)
	}
	chain, err := core.NewBlockChain(db, new(core.CacheConfig), genesis.Config, beacon.New(ethash.NewFaker()), vm.Config{}, nil, nil)
	if err != nil {
		return nil, fmt.Errorf("genesis: %w", err)
	}
	return &backend{
		chain: chain, network: genesis.Config.ChainID.Uint64(),
		met: make(chan *eth.Peer, 1), ended: make(chan error, 1),
	}, nil
}

// connect dials a node and shakes hands.
func (b *backend) connect(ctx context.Context, node *enode.Node) (*eth.Peer, error) {
	key, err := crypto.GenerateKey()
	if err != nil {
		return nil, err
	}
	b.server = &p2p.Server{Config: p2p.Config{
		PrivateKey: key, MaxPeers: 1, NoDiscovery: true, Name: common.MakeName("nodedata", params.VersionWithMeta),
	}}
	for _, protocol := range eth.MakeProtocols(b, b.network, nil) {
		if protocol.Version == eth.ETH66 { // eth/67 has no GetNodeData
			b.server.Protocols = append(b.server.Protocols, protocol)
		}
	}
	if err := b.server.Start(); err != nil {
		return nil, err
	}
	b.server.AddPeer(node)
	select {
	case peer := <-b.met:
		return peer, nil
	case err := <-b.ended:
		return nil, fmt.Errorf("handshake with %v: %w", node, err)
	case <-ctx.Done():
		return nil, fmt.Errorf("no connection to %v that speaks eth/66: %w", node, ctx.Err())
	}
}

// RunPeer shakes hands as geth's own backend does.
func (b *backend) RunPeer(peer *eth.Peer, handle eth.Handler) error {
	err := b.handshake(peer)
	if err == nil {
		b.met <- peer
		err = handle(peer)
	}
	b.ended <- err
	return err
}

func (b *backend) handshake(peer *eth.Peer) error {
	head := b.chain.CurrentHeader()
	td := b.chain.GetTd(head.Hash(), head.Number.Uint64())
	return peer.Handshake(b.network, td, head.Hash(), b.chain.Genesis().Hash(), forkid.NewIDWithChain(b.chain), forkid.NewFilter(b.chain))
}

func (b *backend) Chain() *core.BlockChain { return b.chain }

func (b *backend) TxPool() eth.TxPool { return noTransactions{} }

func (b *backend) AcceptTxs() bool { return false }

func (b *backend) PeerInfo(enode.ID) interface{} { return nil }

// Handle is for what is announced: blocks and transactions.
func (b *backend) Handle(*eth.Peer, eth.Packet) error { return nil }

type noTransactions struct{}

func (noTransactions) Get(common.Hash) *types.Transaction { return nil }
