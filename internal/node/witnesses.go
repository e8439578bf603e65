// SPDX-License-Identifier: LGPL-3.0-or-later

package node

import (
	"context"

	"github.com/ethereum/go-ethereum/core/stateless"
	"github.com/ethereum/go-ethereum/core/types"

	"github.com/sunbeam-eth/sunbeam/beamsync/sched"
	"github.com/sunbeam-eth/sunbeam/evm"
	"github.com/sunbeam-eth/sunbeam/trie"
)

// witnesses makes the execution witnesses of blocks from the keys that the exchange of witnesses keeps, or by an execution.
type witnesses struct {
	node     *Node
	executor *evm.Executor
	headers  ancestors
}

// Executed implements rpc.Witnesses.
func (w witnesses) Executed(ctx context.Context, block *types.Block) *stateless.ExtWitness {
	reads := w.node.witness.Reads(block.Hash())
	if reads == nil {
		return nil
	}
	witness, err := reads.Witness(ctx, w.node.stateAt(reads.Parent.Root), w.headers)
	if err != nil {
		w.node.log.Debug("Execution witness is not whole", "number", block.NumberU64(), "hash", block.Hash(), "err", err)
		return nil
	}
	return witness
}

// Execute implements rpc.Witnesses. It fetches what is not here.
func (w witnesses) Execute(ctx context.Context, block *types.Block, parent *types.Header) (*stateless.ExtWitness, error) {
	store := w.node.stateAt(parent.Root)
	reads, err := w.executor.Reads(ctx, evm.Job{
		Block: block, Parent: parent, Headers: w.headers,
		State: trie.Open(ctx, parent.Root, store, w.node.fetcher.Session(sched.RPC)),
	})
	if err != nil {
		return nil, err
	}
	return reads.Witness(ctx, store, w.headers)
}
