// SPDX-License-Identifier: LGPL-3.0-or-later

package p2p

import (
	"fmt"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/eth/protocols/eth"
	"github.com/ethereum/go-ethereum/rlp"
)

func (p *Peer) serveBodies(query *eth.GetBlockBodiesPacket) (any, error) {
	var out batch
	for _, hash := range query.GetBlockBodiesRequest {
		if out.full() {
			break
		}
		block := p.cfg.Chain.Block(hash)
		if block == nil {
			break // a reply ends before the first missing block
		}
		enc, err := rlp.EncodeToBytes(block.Body())
		if err != nil {
			return nil, fmt.Errorf("encode body of %x: %w", hash, err)
		}
		if !out.add(enc) {
			break
		}
	}
	return &eth.BlockBodiesRLPPacket{RequestId: query.RequestId, BlockBodiesRLPResponse: out.items}, nil
}

// Replies with encoded lists of receipts.
type (
	receiptsReply69 struct {
		RequestID uint64
		List      []rlp.RawValue
	}
	receiptsReply70 struct {
		RequestID           uint64
		LastBlockIncomplete bool
		List                []rlp.RawValue
	}
)

func (p *Peer) serveReceipts69(query *eth.GetReceiptsPacket69) (any, error) {
	lists, incomplete, err := p.collectReceipts(query.GetReceiptsRequest, 0)
	if err != nil {
		return nil, err
	}
	if incomplete { // eth/69 cannot express it
		lists = lists[:len(lists)-1]
	}
	return &receiptsReply69{RequestID: query.RequestId, List: lists}, nil
}

func (p *Peer) serveReceipts70(query *eth.GetReceiptsPacket70) (any, error) {
	lists, incomplete, err := p.collectReceipts(query.GetReceiptsRequest, query.FirstBlockReceiptIndex)
	if err != nil {
		return nil, err
	}
	return &receiptsReply70{RequestID: query.RequestId, LastBlockIncomplete: incomplete, List: lists}, nil
}

// collectReceipts encodes the receipts of blocks, of the first block from an index on.
// incomplete means that the message limit cut the last list.
func (p *Peer) collectReceipts(hashes []common.Hash, first uint64) (lists []rlp.RawValue, incomplete bool, err error) {
	var out batch
	for _, hash := range hashes {
		if out.full() {
			break
		}
		receipts, ok := p.blockReceipts(hash)
		if !ok {
			break
		}
		list, incomplete, err := encodeReceipts(receipts, first, out.room())
		if err != nil {
			return nil, false, fmt.Errorf("encode receipts of %x: %w", hash, err)
		}
		if list == nil || !out.add(list) {
			break
		}
		if incomplete {
			return out.items, true, nil
		}
		first = 0
	}
	return out.items, false, nil
}

// blockReceipts looks up the receipts of a block. ok is true for a block without transactions.
func (p *Peer) blockReceipts(hash common.Hash) (types.Receipts, bool) {
	if receipts := p.cfg.Chain.Receipts(hash); receipts != nil {
		return receipts, true
	}
	block := p.cfg.Chain.Block(hash)
	return nil, block != nil && len(block.Transactions()) == 0
}

func (p *Peer) serveAccessLists(query *eth.GetBlockAccessListsPacket) (any, error) {
	var out batch
	for _, hash := range query.GetBlockAccessListsRequest {
		if out.full() {
			break
		}
		list := p.cfg.Chain.AccessList(hash)
		if len(list) == 0 {
			list = rlp.EmptyString // no list; an empty one is a list (EIP-8159)
		}
		if !out.add(list) {
			break
		}
	}
	return &accessListsReply{RequestID: query.RequestId, List: out.items}, nil
}

type accessListsReply struct {
	RequestID uint64
	List      []rlp.RawValue
}
