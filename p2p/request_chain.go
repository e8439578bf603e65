// SPDX-License-Identifier: LGPL-3.0-or-later

package p2p

import (
	"context"
	"errors"
	"fmt"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/eth/protocols/eth"
	"github.com/ethereum/go-ethereum/rlp"
)

const (
	// maxReplyItems limits the transactions or receipts decoded from one reply: small ones
	// take about fifty times their encoded size in memory. Honest replies (2 MiB and the block
	// that exceeds it, 21000 gas a transaction) stay far below.
	maxReplyItems = 1 << 17
	// maxReceiptRounds limits the further requests for one block's receipts: no block has 16
	// times the receipts that fit in a reply.
	maxReceiptRounds = 16
)

// Headers requests up to amount headers (servers stop at 1024) beginning with origin:
// descending if reverse is set, ascending otherwise.
func (p *Peer) Headers(ctx context.Context, origin common.Hash, amount int, reverse bool) ([]*types.Header, error) {
	if amount <= 0 {
		return nil, nil
	}
	return p.queryHeaders(ctx, &eth.GetBlockHeadersRequest{
		Origin: eth.HashOrNumber{Hash: origin}, Amount: uint64(amount), Reverse: reverse,
	})
}

// HeadersByNumber requests headers of the peer's canonical chain, ascending from a number.
func (p *Peer) HeadersByNumber(ctx context.Context, origin uint64, amount int) ([]*types.Header, error) {
	if amount <= 0 {
		return nil, nil
	}
	return p.queryHeaders(ctx, &eth.GetBlockHeadersRequest{
		Origin: eth.HashOrNumber{Number: origin}, Amount: uint64(amount),
	})
}

func (p *Peer) queryHeaders(ctx context.Context, query *eth.GetBlockHeadersRequest) ([]*types.Header, error) {
	return queryList[*types.Header](ctx, p, msgGetBlockHeaders, msgBlockHeaders, int(query.Amount), replySize(int(query.Amount), maxHeaderSize, softReplySize), func(id uint64) any {
		return &eth.GetBlockHeadersPacket{RequestId: id, GetBlockHeadersRequest: query}
	})
}

// Bodies requests the bodies of blocks. The reply ends before the first missing one.
func (p *Peer) Bodies(ctx context.Context, hashes []common.Hash) ([]*types.Body, error) {
	if len(hashes) == 0 {
		return nil, nil
	}
	raw, err := queryList[eth.BlockBody](ctx, p, msgGetBlockBodies, msgBlockBodies, len(hashes), maxMessageSize, func(id uint64) any {
		return &eth.GetBlockBodiesPacket{RequestId: id, GetBlockBodiesRequest: hashes}
	})
	if err != nil {
		return nil, err
	}
	room := maxReplyItems
	bodies := make([]*types.Body, len(raw))
	for i := range raw {
		if bodies[i], err = p.body(&raw[i], room); err != nil {
			return nil, err
		}
		room -= len(bodies[i].Transactions)
	}
	return bodies, nil
}

// body decodes one body with at most room transactions.
func (p *Peer) body(raw *eth.BlockBody, room int) (*types.Body, error) {
	txs, err := items(p, msgBlockBodies, &raw.Transactions, room)
	if err != nil {
		return nil, err
	}
	uncles, err := items(p, msgBlockBodies, &raw.Uncles, maxReplyItems)
	if err != nil {
		return nil, err
	}
	body := &types.Body{Transactions: txs, Uncles: uncles}
	if raw.Withdrawals != nil {
		withdrawals, err := items(p, msgBlockBodies, raw.Withdrawals, maxReplyItems)
		if err != nil {
			return nil, err
		}
		body.Withdrawals = append(types.Withdrawals{}, withdrawals...) // present even if empty
	}
	return body, nil
}

// Receipts requests the receipts of whole blocks; only consensus fields and Type are set. The
// reply ends before the first missing block. Receipts of a block that exceed one message take
// further requests (eth/70, EIP-7975).
func (p *Peer) Receipts(ctx context.Context, hashes []common.Hash) ([]types.Receipts, error) {
	if len(hashes) == 0 {
		return nil, nil
	}
	blocks, incomplete, err := p.receipts(ctx, hashes, 0)
	if err != nil || !incomplete {
		return blocks, err
	}
	last := len(blocks) - 1
	for range maxReceiptRounds {
		more, incomplete, err := p.receipts(ctx, hashes[last:last+1], len(blocks[last]))
		switch {
		case err != nil:
			return nil, err
		case len(more) == 0:
			return blocks[:last], nil // the peer no longer has the block
		}
		blocks[last] = append(blocks[last], more[0]...)
		if !incomplete {
			return blocks, nil
		}
		if len(blocks[last]) > maxReplyItems {
			break
		}
	}
	return nil, p.disconnect(KindExcess, fmt.Errorf("%s: block %x still incomplete after %d receipts", msgReceipts, hashes[last], len(blocks[last])))
}

// receipts is one exchange: receipts of blocks, of the first block from index first on.
// incomplete means that the last list is not complete.
func (p *Peer) receipts(ctx context.Context, hashes []common.Hash, first int) (blocks []types.Receipts, incomplete bool, err error) {
	if p.link.Version < eth.ETH69 {
		blocks, err = p.receipts66(ctx, hashes)
		return blocks, false, err
	}
	lists, incomplete, err := p.receiptLists(ctx, hashes, first)
	if err != nil {
		return nil, false, err
	}
	room := maxReplyItems
	blocks = make([]types.Receipts, len(lists))
	for i := range lists {
		raw, err := items(p, msgReceipts, &lists[i], room)
		if err != nil {
			return nil, false, err
		}
		room -= len(raw)
		if blocks[i], err = toReceipts(raw); err != nil {
			return nil, false, p.disconnect(KindMalformed, fmt.Errorf("%s: block %d: %w", msgReceipts, i, err))
		}
	}
	if n := len(blocks); incomplete && (n == 0 || len(blocks[n-1]) == 0) {
		return nil, false, p.disconnect(KindInvalid, fmt.Errorf("%s: incomplete without any receipt", msgReceipts))
	}
	return blocks, incomplete, nil
}

// receiptLists is one exchange of receipts over eth/69 or later.
func (p *Peer) receiptLists(ctx context.Context, hashes []common.Hash, first int) (lists []rlp.RawList[eth.Receipt], incomplete bool, err error) {
	if p.link.Version < eth.ETH70 {
		lists, err = queryList[rlp.RawList[eth.Receipt]](ctx, p, msgGetReceipts, msgReceipts, len(hashes), maxMessageSize, func(id uint64) any {
			return &eth.GetReceiptsPacket69{RequestId: id, GetReceiptsRequest: hashes}
		})
		return lists, false, err
	}
	reply, err := query[receiptsPacket70](ctx, p, msgGetReceipts, msgReceipts, maxMessageSize, func(id uint64) any {
		return &eth.GetReceiptsPacket70{RequestId: id, FirstBlockReceiptIndex: uint64(first), GetReceiptsRequest: hashes}
	})
	if err != nil {
		return nil, false, err
	}
	lists, err = items(p, msgReceipts, &reply.List, len(hashes))
	return lists, reply.LastBlockIncomplete, err
}

// AccessLists requests block access lists (eth/71, EIP-8159): the RLP of each, nil if the peer
// has none. For a peer below eth/71 the error is errors.ErrUnsupported.
func (p *Peer) AccessLists(ctx context.Context, hashes []common.Hash) ([]rlp.RawValue, error) {
	if p.link.Version < eth.ETH71 {
		return nil, fmt.Errorf("%s over eth/%d: %w", msgGetAccessLists, p.link.Version, errors.ErrUnsupported)
	}
	if len(hashes) == 0 {
		return nil, nil
	}
	lists, err := queryList[rlp.RawValue](ctx, p, msgGetAccessLists, msgAccessLists, len(hashes), replySize(len(hashes), maxAccessListSize, softReplySize), func(id uint64) any {
		return &eth.GetBlockAccessListsPacket{RequestId: id, GetBlockAccessListsRequest: hashes}
	})
	if err != nil {
		return nil, err
	}
	for i, list := range lists {
		kind, content, _, err := rlp.Split(list)
		switch {
		case err != nil || (kind != rlp.List && len(content) != 0):
			return nil, p.disconnect(KindMalformed, fmt.Errorf("%s: entry %d is not a list", msgAccessLists, i))
		case kind != rlp.List:
			lists[i] = nil // the empty string means no list; an empty list is one
		}
	}
	return lists, nil
}
