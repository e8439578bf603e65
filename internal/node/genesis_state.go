// SPDX-License-Identifier: LGPL-3.0-or-later

package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/state"
	"github.com/ethereum/go-ethereum/core/tracing"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/params"
	"github.com/holiman/uint256"

	"github.com/sunbeam-eth/sunbeam/chain"
	"github.com/sunbeam-eth/sunbeam/trie"
)

// putGenesisState stores the state of the genesis block in local, so that the
// chain can be executed from its beginning without any peer. It does nothing if local
// has that state's root.
func putGenesisState(ctx context.Context, genesis *core.Genesis, root common.Hash, local trie.Local, log *slog.Logger) error {
	if held, err := local.Node(common.Hash{}, nil, root); err != nil || held != nil || root == types.EmptyRootHash {
		return err
	}
	nodes, codes, err := genesisState(ctx, genesis, root, local)
	if err != nil {
		return err
	}
	if err := local.PutNodes(nodes); err != nil {
		return fmt.Errorf("store genesis state: %w", err)
	}
	for hash, code := range codes {
		if err := local.PutCode(hash, code); err != nil {
			return fmt.Errorf("store genesis state: %w", err)
		}
	}
	log.Debug("Stored genesis state", "accounts", len(genesis.Alloc), "nodes", len(nodes), "codes", len(codes))
	return nil
}

// genesisState returns all trie nodes and codes of the genesis state.
func genesisState(ctx context.Context, genesis *core.Genesis, root common.Hash, local trie.Store) ([]trie.Node, map[common.Hash][]byte, error) {
	database := trie.Open(ctx, types.EmptyRootHash, local, nil)
	statedb, err := state.New(types.EmptyRootHash, database)
	if err != nil {
		return nil, nil, fmt.Errorf("genesis state: %w", err)
	}
	for addr, account := range genesis.Alloc {
		if account.Balance != nil {
			balance, overflow := uint256.FromBig(account.Balance)
			if overflow {
				return nil, nil, fmt.Errorf("genesis state: balance of %s does not fit into 256 bits", addr)
			}
			statedb.AddBalance(addr, balance, tracing.BalanceIncreaseGenesisBalance)
		}
		statedb.SetCode(addr, account.Code, tracing.CodeChangeGenesis)
		statedb.SetNonce(addr, account.Nonce, tracing.NonceChangeGenesis)
		for slot, value := range account.Storage {
			statedb.SetState(addr, slot, value)
		}
	}
	if made := statedb.IntermediateRoot(params.Rules{}); made != root {
		return nil, nil, fmt.Errorf("genesis state: root is %s, the genesis block has %s", made.Hex(), root.Hex())
	}
	nodes, codes, err := database.Changes()
	if err != nil {
		return nil, nil, fmt.Errorf("genesis state: %w", err)
	}
	return nodes, codes, nil
}

// completeGenesis makes the genesis state the complete state on disk.
func (n *Node) completeGenesis(ctx context.Context) error {
	if err := n.checkDamagedState(ctx); err != nil {
		return err
	}
	complete, root := n.store.Complete(), n.chain.Genesis().Root()
	if on, err := complete.Root(); err != nil || on == root {
		return err
	}
	nodes, codes, err := genesisState(ctx, n.network.genesis, root, n.local)
	if err != nil {
		return err
	}
	for hash, code := range codes {
		if err := n.store.Chain().PutCode(hash, code); err != nil {
			return fmt.Errorf("store genesis state: %w", err)
		}
	}
	blobs := make(nodeBlobs, len(nodes))
	for _, node := range nodes {
		blobs[node.Hash] = node.Blob
	}
	walker := trie.NewWalker(trie.WalkerConfig{Root: root, Complete: complete, Writer: complete.Writer(), Local: blobs})
	walker.ByNodes(true)
	for !walker.Done() && ctx.Err() == nil {
		need, more, err := walker.Next(false, false)
		if err == nil && (need != nil || !more && !walker.Done()) {
			err = errors.New("a trie node of it is missing")
		}
		if err != nil {
			return fmt.Errorf("store genesis state: %w", err)
		}
	}
	return ctx.Err()
}

// nodeBlobs is the nodes of one state, by hash.
type nodeBlobs map[common.Hash][]byte

// Node implements trie.Store.
func (b nodeBlobs) Node(_ common.Hash, _ []byte, hash common.Hash) ([]byte, error) {
	return b[hash], nil
}

// Code implements trie.Store. The codes are in the database already.
func (nodeBlobs) Code(common.Hash) ([]byte, error) { return nil, nil }

// openGenesisStates makes a node that stands at genesis, with the complete genesis state on disk, a full node: its
// network may be a new one. The importer begins by beaming all the same, because the network may be years old: see
// leaveGenesis.
func (n *Node) openGenesisStates() error {
	if n.chain.CurrentHeader().Number.Sign() != 0 {
		return nil
	}
	root := n.chain.Genesis().Root()
	if on, err := n.store.Complete().Root(); err != nil || on != root {
		return err
	}
	full, err := n.store.EnableFull(root, n.cache)
	if err != nil {
		return fmt.Errorf("open the genesis state: %w", err)
	}
	n.genesis.Store(full)
	return nil
}

// leaveGenesis waits for the first head of a full node at genesis. If the chain was executed from genesis on, the
// importer executes on the full states from then on. If beaming began further up, the genesis state is of no use.
func (n *Node) leaveGenesis(ctx context.Context) error {
	full := n.genesis.Load()
	if full == nil || !n.awaitFirstHead(ctx) {
		return nil
	}
	defer n.genesis.Store(nil)
	if n.chain.Oldest() == 0 {
		err := n.importer.SwitchToFull(ctx, executable{full}, n.chain.Genesis().Header(), n.store.MarkFull)
		if err == nil {
			n.log.Info("Switched to full mode: all state since genesis is local", "head", n.chain.CurrentHeader().Number)
			return n.retireHot(ctx)
		}
		if ctx.Err() != nil {
			return nil
		}
		n.log.Warn("Switch to full mode from genesis failed, collecting the state", "err", err)
	}
	return nil
}

// awaitFirstHead returns true when the head is above genesis, and false when ctx ends.
func (n *Node) awaitFirstHead(ctx context.Context) bool {
	heads := make(chan chain.HeadEvent, 16)
	sub := n.chain.SubscribeHead(heads)
	defer sub.Unsubscribe()
	for n.chain.CurrentHeader().Number.Sign() == 0 {
		select {
		case <-heads:
		case <-ctx.Done():
			return false
		}
	}
	return ctx.Err() == nil
}

// fillFromGenesis prepares an import of blocks: a node at genesis executes them on full states, so that it is a full
// node afterwards. One that was beaming goes on with the state that it has.
func (n *Node) fillFromGenesis(ctx context.Context) error {
	if n.chain.CurrentHeader().Number.Sign() != 0 || n.loaded.states != nil {
		return nil
	}
	if err := n.completeGenesis(ctx); err != nil {
		return err
	}
	if n.genesis.Load() == nil {
		if err := n.openGenesisStates(); err != nil {
			return err
		}
	}
	n.loaded = loadedStates{states: executable{n.genesis.Load()}}
	return n.store.MarkFull()
}
