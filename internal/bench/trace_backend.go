// SPDX-License-Identifier: LGPL-3.0-or-later

package bench

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/consensus"
	"github.com/ethereum/go-ethereum/consensus/beacon"
	"github.com/ethereum/go-ethereum/consensus/ethash"
	"github.com/ethereum/go-ethereum/core/state"
	"github.com/ethereum/go-ethereum/core/stateless"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/core/vm"
	"github.com/ethereum/go-ethereum/eth/tracers"
	"github.com/ethereum/go-ethereum/ethdb"
	"github.com/ethereum/go-ethereum/params"
	gethrpc "github.com/ethereum/go-ethereum/rpc"
	"github.com/ethereum/go-ethereum/triedb"

	"github.com/sunbeam-eth/sunbeam/beamsync/sched"
	"github.com/sunbeam-eth/sunbeam/chain"
	"github.com/sunbeam-eth/sunbeam/internal/witnessfile"
	"github.com/sunbeam-eth/sunbeam/rpc"
	"github.com/sunbeam-eth/sunbeam/trie"
)

// tracingNode is what the JSON-RPC of the node needs to trace one block.
type tracingNode struct {
	client  *client
	file    *witnessfile.File
	headers *ancestors
}

// Open implements rpc.States.
func (n *tracingNode) Open(ctx context.Context, root common.Hash) (rpc.StateDatabase, error) {
	return trie.Open(ctx, root, n.client.store, n.client.fetcher.Session(sched.RPC)), nil
}

// Window implements rpc.States.
func (n *tracingNode) Window() uint64 { return 0 }

// Prefetch implements rpc.Prefetcher.
func (n *tracingNode) Prefetch(ctx context.Context, block *types.Block, parent *types.Header) {
	_ = n.client.prefetcher.Prefetch(ctx, block, parent, n.headers, n.client.fetcher.Session(sched.RPC)) // a hint may fail
}

// tracedChain is a chain whose head is the block of a file.
type tracedChain struct {
	*blockChain
	file *witnessfile.File
}

func (c tracedChain) CurrentHeader() *types.Header { return c.file.Block.Header() }
func (c tracedChain) Safe() *types.Header          { return nil }
func (c tracedChain) Finalized() *types.Header     { return nil }
func (c tracedChain) Tail() uint64                 { return c.Oldest() }
func (c tracedChain) BadBlocks() []*types.Block    { return nil }

// IsBelowFinalized implements rpc.Chain: nothing is finalized.
func (c tracedChain) IsBelowFinalized(*types.Header) bool { return false }

// Status implements rpc.Chain: what the witness has is valid.
func (c tracedChain) Status(common.Hash) chain.Status { return chain.Executed }

func (c tracedChain) BlockByNumber(uint64) *types.Block { return nil }

func (c tracedChain) Transaction(common.Hash) (*types.Transaction, common.Hash, uint64, uint64) {
	return nil, common.Hash{}, 0, 0
}

// gethTracer is what go-ethereum's tracers need to trace the block of a file on its whole witness.
type gethTracer struct {
	file *witnessfile.File
	db   ethdb.Database
	last atomic.Pointer[state.StateDB]
}

func newGethTracer(file *witnessfile.File) *gethTracer {
	w := &stateless.Witness{Headers: file.Headers, Codes: make(map[string]struct{}), State: make(map[string]struct{})}
	for _, code := range file.Codes {
		w.Codes[string(code)] = struct{}{}
	}
	for _, blob := range file.Nodes {
		w.State[string(blob)] = struct{}{}
	}
	return &gethTracer{file: file, db: w.MakeHashDB()}
}

// holes says whether the last trace read what the witness lacks.
func (g *gethTracer) holes() bool {
	last := g.last.Load()
	return last != nil && last.Error() != nil
}

func (g *gethTracer) HeaderByHash(_ context.Context, hash common.Hash) (*types.Header, error) {
	for _, header := range g.file.Headers {
		if header.Hash() == hash {
			return header, nil
		}
	}
	return nil, errNotInWitness
}

// HeaderByNumber finds the headers that BLOCKHASH reads.
func (g *gethTracer) HeaderByNumber(_ context.Context, number gethrpc.BlockNumber) (*types.Header, error) {
	for _, header := range g.file.Headers {
		if header.Number.Uint64() == uint64(number) {
			return header, nil
		}
	}
	return nil, errNotInWitness
}

func (g *gethTracer) CurrentHeader() *types.Header { return g.file.Block.Header() }

// BlockByHash finds the parent: its body is not needed.
func (g *gethTracer) BlockByHash(ctx context.Context, hash common.Hash) (*types.Block, error) {
	header, err := g.HeaderByHash(ctx, hash)
	if err != nil {
		return nil, err
	}
	return types.NewBlockWithHeader(header), nil
}

func (g *gethTracer) BlockByNumber(ctx context.Context, _ gethrpc.BlockNumber) (*types.Block, error) {
	return g.BlockByHash(ctx, g.file.Parent.Hash())
}

func (g *gethTracer) GetCanonicalTransaction(common.Hash) (bool, *types.Transaction, common.Hash, uint64, uint64) {
	return false, nil, common.Hash{}, 0, 0
}

func (g *gethTracer) TxIndexDone() bool { return true }

func (g *gethTracer) RPCGasCap() uint64 { return rpc.DefaultGasCap }

func (g *gethTracer) ChainConfig() *params.ChainConfig { return g.file.Config }

func (g *gethTracer) Engine() consensus.Engine { return beacon.New(ethash.NewFaker()) }

func (g *gethTracer) ChainDb() ethdb.Database { return g.db }

// StateAtBlock opens the state before the block.
func (g *gethTracer) StateAtBlock(context.Context, *types.Block, *state.StateDB, bool, bool) (*state.StateDB, tracers.StateReleaseFunc, error) {
	db, err := state.New(g.file.PreRoot, state.NewDatabase(triedb.NewDatabase(g.db, triedb.HashDefaults), state.NewCodeDB(g.db)))
	g.last.Store(db)
	return db, func() {}, err
}

func (g *gethTracer) StateAtTransaction(context.Context, *types.Block, int) (*types.Transaction, vm.BlockContext, *state.StateDB, tracers.StateReleaseFunc, error) {
	return nil, vm.BlockContext{}, nil, nil, errNotInWitness
}

var errNotInWitness = errors.New("not in the witness")
