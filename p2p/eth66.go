// SPDX-License-Identifier: LGPL-3.0-or-later

package p2p

import (
	"context"
	"fmt"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/eth/protocols/eth"
	"github.com/ethereum/go-ethereum/rlp"
)

// Messages whose encoding in eth/66 differs from that in later versions, except the status.
// Request ids, headers, bodies and pooled transactions are the same.

// receipts66 requests receipts in consensus encoding. It computes the blooms instead of
// trusting those sent, as for later versions.
func (p *Peer) receipts66(ctx context.Context, request blocksRequest) ([]types.Receipts, error) {
	lists, err := queryList[rlp.RawList[*types.Receipt]](ctx, p, msgGetReceipts, msgReceipts, len(request.hashes), request.reply, func(id uint64) any {
		return &eth.GetReceiptsPacket69{RequestId: id, GetReceiptsRequest: request.hashes}
	})
	if err != nil {
		return nil, err
	}
	room := maxReplyItems
	blocks := make([]types.Receipts, len(lists))
	for i := range lists {
		if err := p.checkSize(msgReceipts, i, lists[i].Size(), request.item); err != nil {
			return nil, err
		}
		receipts, err := items(p, msgReceipts, &lists[i], room)
		if err != nil {
			return nil, err
		}
		room -= len(receipts)
		for _, receipt := range receipts {
			receipt.Bloom = types.CreateBloom(receipt)
		}
		blocks[i] = receipts
	}
	return blocks, nil
}

// serveReceipts66 answers as go-ethereum's last server of this version did.
func (p *Peer) serveReceipts66(query *eth.GetReceiptsPacket69) (any, error) {
	var out batch
	for _, hash := range query.GetReceiptsRequest {
		if out.full() {
			break
		}
		receipts, ok := p.blockReceipts(hash)
		if !ok {
			break
		}
		full := make([]*types.Receipt, len(receipts))
		for i, receipt := range receipts {
			withBloom := *receipt
			withBloom.Bloom = types.CreateBloom(receipt)
			full[i] = &withBloom
		}
		enc, err := rlp.EncodeToBytes(full)
		if err != nil {
			return nil, fmt.Errorf("encode receipts of %x: %w", hash, err)
		}
		if !out.add(enc) {
			break
		}
	}
	return &receiptsReply69{RequestID: query.RequestId, List: out.items}, nil
}

// announced66 handles an announcement of transactions without types and sizes.
func (p *Peer) announced66(in incoming) error {
	var hashes rlp.RawList[common.Hash]
	if err := rlp.DecodeBytes(in.payload, &hashes); err != nil {
		return p.disconnect(KindMalformed, fmt.Errorf("%s: %w", in.msg, err))
	}
	list, err := hashes.Items()
	if err != nil {
		return p.disconnect(KindMalformed, fmt.Errorf("%s: %w", in.msg, err))
	}
	if p.cfg.Transactions != nil {
		p.cfg.Transactions.Announced(p, nil, nil, list[:min(len(list), maxPooled)], types.CustodyBitmap{})
	}
	return nil
}
