// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/ethereum/go-ethereum/core/stateless"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rlp"
	gethrpc "github.com/ethereum/go-ethereum/rpc"

	"github.com/sunbeam-eth/sunbeam/internal/jsonhex"
)

// Witnesses has the witnesses of blocks: the trie nodes, codes and headers that executing them needs. Trie nodes and codes
// are in increasing order, headers from the oldest to the parent.
type Witnesses interface {
	// Executed returns the witness of a block that was executed here lately, nil if its parent's state or what the block
	// read is not here any more.
	Executed(ctx context.Context, block *types.Block) *stateless.ExtWitness
	// Execute executes a valid block on its parent's state, which may be fetched, to know its witness.
	Execute(ctx context.Context, block *types.Block, parent *types.Header) (*stateless.ExtWitness, error)
}

// witness returns the witness of a valid block.
func (b *backend) witness(ctx context.Context, block *types.Block) (*stateless.ExtWitness, error) {
	if b.Witnesses == nil {
		return nil, errors.New("this node makes no witnesses")
	}
	if found := b.Witnesses.Executed(ctx, block); found != nil {
		return found, nil
	}
	if block.NumberU64() == 0 {
		return nil, errNoGenesisTrace
	}
	parent := b.Chain.Header(block.ParentHash())
	if parent == nil {
		return nil, fmt.Errorf("block %d found, but parent missing", block.NumberU64())
	}
	limits := b.traceLimits()
	if err := b.checkWindow(parent); err != nil {
		return nil, err
	}
	ctx, release, err := limits.acquire(ctx, limits.timeout)
	if err != nil {
		return nil, err
	}
	defer release()
	turn := b.processors.begin(ctx, limits.grace, limits.timeout)
	defer turn.release()
	turn.yield()
	ctx = b.withMeter(ctx, turn)
	needed := make(chan struct{})
	close(needed) // most of what was executed elsewhere is not here
	defer b.prefetch(ctx, needed, block, parent)()
	made, err := b.Witnesses.Execute(ctx, block, parent)
	if err != nil {
		return nil, unavailable(ctx, err, limits.timeout)
	}
	return made, nil
}

// encodeWitness is a witness as the Engine API has it: its RLP, and without keys, as in go-ethereum.
func encodeWitness(w *stateless.ExtWitness) ([]byte, error) {
	return rlp.EncodeToBytes(&stateless.ExtWitness{Headers: w.Headers, Codes: w.Codes, State: w.State})
}

// witnessAPI is the part of the debug namespace about witnesses.
type witnessAPI struct{ b *backend }

// ExecutionWitness returns the witness of a block: headers, codes and state as in go-ethereum, and the keys that reth has.
func (api *witnessAPI) ExecutionWitness(ctx context.Context, at gethrpc.BlockNumberOrHash) (*witnessJSON, error) {
	if err := api.b.checkHead(); err != nil {
		return nil, err
	}
	if err := api.b.refusePending(at); err != nil {
		return nil, err
	}
	block, err := api.b.blockAt(at)
	if err == nil && block == nil {
		err = fmt.Errorf("block %v not found", at)
	}
	if err != nil {
		return nil, err
	}
	witness, err := api.b.witness(ctx, block)
	if err != nil {
		return nil, err
	}
	return &witnessJSON{witness}, nil
}

// witnessJSON is encoded into one buffer of the right size: a witness has megabytes.
type witnessJSON struct{ *stateless.ExtWitness }

// MarshalJSON implements json.Marshaler.
func (w *witnessJSON) MarshalJSON() ([]byte, error) {
	headers, err := json.Marshal(w.Headers)
	if err != nil {
		return nil, err
	}
	const rest = len(`{"headers":,"codes":,"state":,"keys":}`)
	out := make([]byte, 0, rest+len(headers)+jsonhex.ListSize(w.Codes)+jsonhex.ListSize(w.State)+jsonhex.ListSize(w.Keys))
	out = append(append(out, `{"headers":`...), headers...)
	out = jsonhex.AppendList(append(out, `,"codes":`...), w.Codes)
	out = jsonhex.AppendList(append(out, `,"state":`...), w.State)
	out = jsonhex.AppendList(append(out, `,"keys":`...), w.Keys)
	return append(out, '}'), nil
}
