// SPDX-License-Identifier: LGPL-3.0-or-later

package p2p

import (
	"fmt"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/eth/protocols/eth"
	"github.com/ethereum/go-ethereum/rlp"
)

// maxSideSteps limits the parents followed to skip non-canonical headers.
const maxSideSteps = 2 * maxLookups

func (p *Peer) serveHeaders(query *eth.GetBlockHeadersPacket) (any, error) {
	var out batch
	walk := headerWalk{chain: p.cfg.Chain, skip: query.Skip, reverse: query.Reverse, steps: maxSideSteps}
	limit := min(query.Amount, maxLookups)
	for header := walk.first(query.Origin); header != nil && limit > 0; header = walk.next(header) {
		enc, err := rlp.EncodeToBytes(header)
		if err != nil {
			return nil, fmt.Errorf("encode header %d: %w", header.Number, err)
		}
		if !out.add(enc) {
			break
		}
		if limit--; limit == 0 || out.full() {
			break
		}
	}
	return &eth.BlockHeadersRLPPacket{RequestId: query.RequestId, BlockHeadersRLPResponse: out.items}, nil
}

// headerWalk iterates the headers of a query (devp2p caps/eth.md, GetBlockHeaders): ascending
// on the canonical chain, descending by number or, from a hash, by parent.
type headerWalk struct {
	chain   HeaderBackend
	skip    uint64 // headers omitted between two
	reverse bool
	byHash  bool
	steps   int // parents that may still be followed
}

func (w *headerWalk) first(origin eth.HashOrNumber) *types.Header {
	if origin.Hash == (common.Hash{}) {
		return w.chain.HeaderByNumber(origin.Number)
	}
	w.byHash = true
	return w.chain.Header(origin.Hash)
}

func (w *headerWalk) next(from *types.Header) *types.Header {
	stride := w.skip + 1
	number := from.Number.Uint64()
	switch {
	case stride == 0: // overflow
		return nil
	case w.reverse && number < stride:
		return nil
	case w.byHash && w.reverse:
		return w.ancestor(from, stride)
	case w.reverse:
		return w.chain.HeaderByNumber(number - stride)
	case number+stride < number: // overflow
		return nil
	case w.byHash && !w.canonical(from):
		return nil // children of side blocks are not indexed
	}
	w.byHash = false
	return w.chain.HeaderByNumber(number + stride)
}

// ancestor finds an ancestor of a header: by number for a canonical header and a stride above
// 1, otherwise by parent, which also works on side chains and below the canonical index.
func (w *headerWalk) ancestor(from *types.Header, stride uint64) *types.Header {
	if stride > 1 && w.canonical(from) {
		return w.chain.HeaderByNumber(from.Number.Uint64() - stride)
	}
	for ; stride > 0; stride-- {
		if w.steps--; w.steps < 0 {
			return nil
		}
		if from = w.chain.Header(from.ParentHash); from == nil {
			return nil
		}
	}
	return from
}

func (w *headerWalk) canonical(header *types.Header) bool {
	at := w.chain.HeaderByNumber(header.Number.Uint64())
	return at != nil && at.Hash() == header.Hash()
}
