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

// Bodies requests the bodies of blocks, given by their headers, whose gas used bounds the reply. The reply ends before the first
// missing one.
func (p *Peer) Bodies(ctx context.Context, headers []*types.Header) ([]*types.Body, error) {
	if len(headers) == 0 {
		return nil, nil
	}
	request := p.requestBlocks(headers, maxBodySize)
	raw, err := queryList[eth.BlockBody](ctx, p, msgGetBlockBodies, msgBlockBodies, len(headers), request.reply, func(id uint64) any {
		return &eth.GetBlockBodiesPacket{RequestId: id, GetBlockBodiesRequest: request.hashes}
	})
	if err != nil {
		return nil, err
	}
	room := maxReplyItems
	bodies := make([]*types.Body, len(raw))
	for i := range raw {
		if err := p.checkSize(msgBlockBodies, i, bodySize(&raw[i]), request.item); err != nil {
			return nil, err
		}
		if bodies[i], err = p.body(&raw[i], room, request.withdrawals); err != nil {
			return nil, err
		}
		room -= len(bodies[i].Transactions)
	}
	return bodies, nil
}

// bodySize is the size of a body's lists.
func bodySize(raw *eth.BlockBody) uint64 {
	size := raw.Transactions.Size() + raw.Uncles.Size()
	if raw.Withdrawals != nil {
		size += raw.Withdrawals.Size()
	}
	return size
}

// body decodes one body with at most room transactions, and so many withdrawals.
func (p *Peer) body(raw *eth.BlockBody, room, withdrawals int) (*types.Body, error) {
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
		list, err := items(p, msgBlockBodies, raw.Withdrawals, withdrawals)
		if err != nil {
			return nil, err
		}
		body.Withdrawals = append(types.Withdrawals{}, list...) // present even if empty
	}
	return body, nil
}

// Receipts requests the receipts of whole blocks, given by their headers, whose gas used bounds the reply; only consensus fields and
// Type are set. The reply ends before the first missing block. Receipts of a block that exceed one message take
// further requests (eth/70, EIP-7975).
func (p *Peer) Receipts(ctx context.Context, headers []*types.Header) ([]types.Receipts, error) {
	if len(headers) == 0 {
		return nil, nil
	}
	blocks, incomplete, err := p.receipts(ctx, headers, 0)
	if err != nil || !incomplete {
		return blocks, err
	}
	last := len(blocks) - 1
	for range maxReceiptRounds {
		more, incomplete, err := p.receipts(ctx, headers[last:last+1], len(blocks[last]))
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
	return nil, p.disconnect(KindExcess, fmt.Errorf("%s: block %x still incomplete after %d receipts", msgReceipts, headers[last].Hash(), len(blocks[last])))
}

// receipts is one exchange: receipts of blocks, of the first block from index first on.
// incomplete means that the last list is not complete.
func (p *Peer) receipts(ctx context.Context, headers []*types.Header, first int) (blocks []types.Receipts, incomplete bool, err error) {
	request := p.requestBlocks(headers, maxReceiptsSize)
	if p.link.Version < eth.ETH69 {
		blocks, err = p.receipts66(ctx, request)
		return blocks, false, err
	}
	lists, incomplete, err := p.receiptLists(ctx, request, first)
	if err != nil {
		return nil, false, err
	}
	room := maxReplyItems
	blocks = make([]types.Receipts, len(lists))
	for i := range lists {
		if err := p.checkSize(msgReceipts, i, lists[i].Size(), request.item); err != nil {
			return nil, false, err
		}
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
func (p *Peer) receiptLists(ctx context.Context, request blocksRequest, first int) (lists []rlp.RawList[eth.Receipt], incomplete bool, err error) {
	if p.link.Version < eth.ETH70 {
		lists, err = queryList[rlp.RawList[eth.Receipt]](ctx, p, msgGetReceipts, msgReceipts, len(request.hashes), request.reply, func(id uint64) any {
			return &eth.GetReceiptsPacket69{RequestId: id, GetReceiptsRequest: request.hashes}
		})
		return lists, false, err
	}
	reply, err := query[receiptsPacket70](ctx, p, msgGetReceipts, msgReceipts, request.reply, func(id uint64) any {
		return &eth.GetReceiptsPacket70{RequestId: id, FirstBlockReceiptIndex: uint64(first), GetReceiptsRequest: request.hashes}
	})
	if err != nil {
		return nil, false, err
	}
	lists, err = items(p, msgReceipts, &reply.List, len(request.hashes))
	return lists, reply.LastBlockIncomplete, err
}

// AccessLists requests block access lists (eth/71, EIP-8159) of blocks, given by their headers, whose gas used bounds the reply: the RLP of
// each, nil if the peer has none. For a peer below eth/71 the error is errors.ErrUnsupported.
func (p *Peer) AccessLists(ctx context.Context, headers []*types.Header) ([]rlp.RawValue, error) {
	if p.link.Version < eth.ETH71 {
		return nil, fmt.Errorf("%s over eth/%d: %w", msgGetAccessLists, p.link.Version, errors.ErrUnsupported)
	}
	if len(headers) == 0 {
		return nil, nil
	}
	request := p.requestBlocks(headers, maxAccessListSize)
	lists, err := queryList[rlp.RawValue](ctx, p, msgGetAccessLists, msgAccessLists, len(headers), request.reply, func(id uint64) any {
		return &eth.GetBlockAccessListsPacket{RequestId: id, GetBlockAccessListsRequest: request.hashes}
	})
	if err != nil {
		return nil, err
	}
	for i, list := range lists {
		if err := p.checkSize(msgAccessLists, i, uint64(len(list)), request.item); err != nil {
			return nil, err
		}
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
