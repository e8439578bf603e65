// SPDX-License-Identifier: LGPL-3.0-or-later

package p2p

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto/kzg4844"
	"github.com/ethereum/go-ethereum/eth/protocols/eth"
	"github.com/ethereum/go-ethereum/params"
	"github.com/ethereum/go-ethereum/rlp"
)

// Messages about cells of blobs (EIP-8070, eth/72). A blob, extended by an erasure code, is divided into 128 cells
// of 2 KiB (EIP-7594), one in each column. PooledTransactions has no blobs there: their cells are requested by
// transaction and columns. On the wire the cells of a transaction are ordered by column, then by blob; elsewhere by
// blob, then by column, as go-ethereum's pool has them.

// maxCellBlobs is the number of blobs after which no further transaction is added to a reply, however few columns
// were requested: each costs the pool a read of 256 KiB from disk. With half of the columns, 16 blobs fill a reply.
const maxCellBlobs = 128

// cellsPacket is a Cells message of which only the lists are decoded.
type cellsPacket struct {
	ID     uint64
	Hashes rlp.RawList[common.Hash]
	Cells  rlp.RawList[rlp.RawList[kzg4844.Cell]]
	Mask   types.CustodyBitmap
}

// cellsReply is a Cells message to send.
type cellsReply struct {
	ID     uint64
	Hashes []common.Hash
	Cells  []rlp.RawValue // for each hash the list of its cells
	Mask   types.CustodyBitmap
}

// Cells requests the cells of pooled transactions in some columns. The reply omits missing transactions: cells has
// a list for each of found, blob after blob. The caller verifies the cells.
func (p *Peer) Cells(ctx context.Context, hashes []common.Hash, columns types.CustodyBitmap) (found []common.Hash, cells [][]kzg4844.Cell, err error) {
	if p.link.Version < eth.ETH72 {
		return nil, nil, fmt.Errorf("%s with eth/%d: %w", msgGetCells, p.link.Version, errors.ErrUnsupported)
	}
	if len(hashes) == 0 || columns.OneCount() == 0 {
		return nil, nil, nil
	}
	reply, err := query[cellsPacket](ctx, p, msgGetCells, msgCells, cellsSize(len(hashes), columns.OneCount()), func(id uint64) any {
		return &eth.GetCellsRequestPacket{RequestId: id, Hashes: hashes, Mask: columns}
	})
	if err != nil {
		return nil, nil, err
	}
	return p.checkCells(reply, hashes, columns)
}

// cellsSize is how many bytes a Cells message may have: the hashes, and the cells of transactions with as many blobs as
// they may have.
func cellsSize(hashes, columns int) int {
	item := params.BlobTxMaxBlobs * columns * (len(kzg4844.Cell{}) + perItem)
	return hashesSize(hashes) + replySize(hashes, item, softReplySize)
}

// checkCells decodes a reply, and disconnects the peer if it contradicts itself or the request.
func (p *Peer) checkCells(reply *cellsPacket, hashes []common.Hash, columns types.CustodyBitmap) (found []common.Hash, cells [][]kzg4844.Cell, err error) {
	delivered, err := items(p, msgCells, &reply.Hashes, len(hashes))
	if err != nil {
		return nil, nil, err
	}
	lists, err := items(p, msgCells, &reply.Cells, len(hashes))
	if err != nil {
		return nil, nil, err
	}
	switch {
	case len(lists) != len(delivered):
		return nil, nil, p.disconnect(KindInvalid, fmt.Errorf("%s: %d lists of cells for %d transactions", msgCells, len(lists), len(delivered)))
	case reply.Mask.Difference(columns).OneCount() > 0:
		return nil, nil, p.disconnect(KindInvalid, fmt.Errorf("%s: columns that were not requested", msgCells))
	case reply.Mask != columns:
		return nil, nil, nil // less than requested is as good as nothing
	}
	for i, hash := range delivered {
		if !slices.Contains(hashes, hash) || slices.Contains(found, hash) {
			return nil, nil, p.disconnect(KindInvalid, fmt.Errorf("%s: transaction %x was not requested, or is there twice", msgCells, hash))
		}
		if lists[i].Len() == 0 {
			continue // missing
		}
		list, err := p.decodeCells(&lists[i], columns.OneCount())
		if err != nil {
			return nil, nil, err
		}
		found, cells = append(found, hash), append(cells, list)
	}
	return found, cells, nil
}

// decodeCells decodes the cells of one transaction and orders them by blob.
func (p *Peer) decodeCells(list *rlp.RawList[kzg4844.Cell], columns int) ([]kzg4844.Cell, error) {
	received, err := items(p, msgCells, list, params.BlobTxMaxBlobs*columns)
	if err != nil {
		return nil, err
	}
	if len(received)%columns != 0 {
		return nil, p.disconnect(KindInvalid, fmt.Errorf("%s: %d cells in %d columns", msgCells, len(received), columns))
	}
	blobs := len(received) / columns
	cells := make([]kzg4844.Cell, len(received))
	for i := range received {
		cells[i%blobs*columns+i/blobs] = received[i]
	}
	return cells, nil
}

// encodeCells encodes the cells of one transaction in the order of the wire.
func encodeCells(cells []kzg4844.Cell, columns int) (rlp.RawValue, error) {
	blobs := len(cells) / columns
	ordered := make([]kzg4844.Cell, len(cells))
	for i := range ordered {
		ordered[i] = cells[i%blobs*columns+i/blobs]
	}
	return rlp.EncodeToBytes(ordered)
}

func (p *Peer) serveCells(query *eth.GetCellsRequestPacket) (any, error) {
	reply := &cellsReply{ID: query.RequestId, Mask: query.Mask}
	columns := query.Mask.OneCount()
	if p.cfg.Transactions == nil || columns == 0 {
		return reply, nil
	}
	var out batch
	blobs := 0
	for _, hash := range query.Hashes[:min(maxPooled, len(query.Hashes))] {
		if out.size >= softReplySize || blobs >= maxCellBlobs {
			break
		}
		cells := p.cfg.Transactions.Cells(hash, query.Mask)
		if len(cells) == 0 {
			continue
		}
		list, err := encodeCells(cells, columns)
		if err != nil {
			return nil, err
		}
		if !out.add(list) {
			break
		}
		reply.Hashes = append(reply.Hashes, hash)
		blobs += len(cells) / columns
	}
	reply.Cells = out.items
	return reply, nil
}
