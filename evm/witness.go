// SPDX-License-Identifier: LGPL-3.0-or-later

package evm

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/state"
	"github.com/ethereum/go-ethereum/core/stateless"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/params"

	"github.com/sunbeam-eth/sunbeam/trie"
)

// Reads is what a valid block read of the chain before it: enough to find its witness in a store that has the state of its
// parent. It is some hundredth of the size of that.
type Reads struct {
	Parent  *types.Header
	Touched *trie.Touched
	Oldest  uint64 // Result.OldestHash
}

// Witness is the execution witness of the block as go-ethereum has it: the trie nodes and codes that the block read, and
// the siblings that deletions pull up, each in increasing order; and the headers from the oldest ancestor whose hash was
// read to the parent. Its keys are the addresses and slots that were read, in their order. Go-ethereum has no keys in its
// witnesses; reth has these.
//
// An error wraps trie.ErrUnavailable if the store lacks something.
func (r *Reads) Witness(ctx context.Context, store trie.Store, headers Headers) (*stateless.ExtWitness, error) {
	nodes, codes, err := r.Touched.Blobs(store, r.Parent.Root)
	if err != nil {
		return nil, err
	}
	w := &stateless.ExtWitness{Headers: []*types.Header{r.Parent}, Codes: sorted(codes), State: sorted(nodes), Keys: r.keys()}
	for last := r.Parent; last.Number.Uint64() > r.Oldest; {
		number := last.Number.Uint64() - 1
		if last, err = headers.Header(ctx, last.ParentHash, number); err != nil {
			return nil, fmt.Errorf("header of block %d: %w", number, err)
		}
		w.Headers = append(w.Headers, last)
	}
	slices.Reverse(w.Headers)
	return w, nil
}

// keys are the addresses that were read, each with its slots behind it.
func (r *Reads) keys() []hexutil.Bytes {
	keys := make([]hexutil.Bytes, 0, r.Touched.Keys())
	for i := range r.Touched.Accounts {
		account := &r.Touched.Accounts[i]
		keys = append(keys, account.Address[:])
		for j := range account.Slots {
			keys = append(keys, account.Slots[j][:])
		}
	}
	return keys
}

func sorted(blobs [][]byte) []hexutil.Bytes {
	slices.SortFunc(blobs, bytes.Compare)
	list := make([]hexutil.Bytes, len(blobs))
	for i, blob := range blobs {
		list[i] = blob
	}
	return list
}

// Reads executes a block that is known to be valid, and returns what it read. The new state is not kept. Unlike Execute it
// leaves no trace for speculation.
func (e *Executor) Reads(ctx context.Context, job Job) (*Reads, error) {
	result := e.Execute(ctx, Job{Block: job.Block, Parent: job.Parent, Headers: job.Headers, State: untold{job.State}})
	if result.Outcome != Valid {
		return nil, fmt.Errorf("execution of block %d %x is %v: %w", job.Block.NumberU64(), job.Block.Hash(), result.Outcome, result.Err)
	}
	return &Reads{Parent: job.Parent, Touched: job.State.Touched(), Oldest: result.OldestHash}, nil
}

// untold has a type of its own, so that the executor does not learn from the block.
type untold struct{ State }

// Finish implements State. The new state is dropped.
func (untold) Finish(*state.StateDB, params.Rules, uint64) ([]trie.Node, map[common.Hash][]byte, error) {
	return nil, nil, nil
}
