// SPDX-License-Identifier: LGPL-3.0-or-later

package pool

import (
	"maps"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/txpool"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto/kzg4844"
	"github.com/ethereum/go-ethereum/rlp"
)

// Reads of the pool in memory. Before its first head the pool is empty.

// Get returns a pooled transaction, with its blobs if it has any, without a sidecar if the pool has too few of
// their cells; nil if it is not in the pool.
func (p *Pool) Get(hash common.Hash) *types.Transaction {
	if columns := p.columns(hash); columns != nil && columns.OneCount() < kzg4844.DataPerBlob {
		return p.withoutBlobs(hash)
	}
	for _, pool := range p.open() {
		if tx := pool.Get(hash); tx != nil {
			return tx
		}
	}
	return nil
}

// Has says whether a transaction is in the pool.
func (p *Pool) Has(hash common.Hash) bool {
	for _, pool := range p.open() {
		if pool.Has(hash) {
			return true
		}
	}
	return false
}

// withoutBlobs returns a blob transaction of which the pool has no blobs.
func (p *Pool) withoutBlobs(hash common.Hash) *types.Transaction {
	tx := new(types.Transaction)
	if err := rlp.DecodeBytes(p.Encoded(hash, firstCellVersion), tx); err != nil {
		return nil // it has left the pool
	}
	return tx.WithoutBlobTxSidecar()
}

// Encoded returns a pooled transaction in the network encoding of a version of eth: below 72 blob transactions have
// their blobs. It is nil if the pool does not have the transaction, or too few of the cells of its blobs.
func (p *Pool) Encoded(hash common.Hash, version uint) []byte {
	if !servable(p.columns(hash), version) {
		return nil
	}
	for _, pool := range p.open() {
		if enc := pool.GetRLP(hash, version); len(enc) > 0 {
			return enc
		}
	}
	return nil
}

// Cells returns the cells of a pooled transaction's blobs in some columns, blob after blob; nil if the pool does
// not have all of them.
func (p *Pool) Cells(hash common.Hash, columns types.CustodyBitmap) []kzg4844.Cell {
	at := p.at.Load()
	if at == nil || at.blob == nil {
		return nil
	}
	if has := at.blob.GetCustody(hash); has == nil || columns.Difference(*has).OneCount() > 0 {
		return nil // without a read from disk
	}
	blobs, _, err := at.blob.GetBlobCells(at.blob.GetBlobHashes(hash), columns)
	if err != nil {
		return nil
	}
	var cells []kzg4844.Cell
	for _, blob := range blobs {
		if blob == nil {
			return nil // it has left the pool
		}
		for _, cell := range blob {
			if cell == nil {
				return nil
			}
			cells = append(cells, *cell)
		}
	}
	return cells
}

// columns returns those of which the pool has the cells of a transaction's blobs; nil for a transaction without
// blobs, or one that is not pooled.
func (p *Pool) columns(hash common.Hash) *types.CustodyBitmap {
	if at := p.at.Load(); at != nil && at.blob != nil {
		return at.blob.GetCustody(hash)
	}
	return nil
}

// servable says whether a transaction can be sent to a peer with a version of eth: below 72 it goes with all blobs,
// which any half of the cells is enough for.
func servable(columns *types.CustodyBitmap, version uint) bool {
	return version >= firstCellVersion || columns == nil || columns.OneCount() >= kzg4844.DataPerBlob
}

// metadata returns type and size (bytes, network encoding with blobs); nil for what is not pooled.
func (p *Pool) metadata(hash common.Hash) *txpool.TxMetadata {
	for _, pool := range p.open() {
		if meta := pool.GetMetadata(hash); meta != nil {
			return meta
		}
	}
	return nil
}

// Stats counts the executable transactions and those that wait for earlier ones.
func (p *Pool) Stats() (pending, queued int) {
	for _, pool := range p.open() {
		a, b := pool.Stats()
		pending, queued = pending+a, queued+b
	}
	return pending, queued
}

// Content returns all transactions without blobs, by sender and in the order of their nonces: the
// executable ones and those that wait for earlier ones.
func (p *Pool) Content() (pending, queued map[common.Address][]*types.Transaction) {
	pending, queued = make(map[common.Address][]*types.Transaction), make(map[common.Address][]*types.Transaction)
	for _, pool := range p.open() {
		a, b := pool.Content()
		maps.Copy(pending, a)
		maps.Copy(queued, b)
	}
	return pending, queued
}

// ContentFrom is Content of one sender.
func (p *Pool) ContentFrom(addr common.Address) (pending, queued []*types.Transaction) {
	for _, pool := range p.open() {
		if a, b := pool.ContentFrom(addr); len(a)+len(b) > 0 {
			return a, b
		}
	}
	return nil, nil
}

// open returns the open pools.
func (p *Pool) open() []txpool.SubPool {
	if at := p.at.Load(); at != nil {
		return at.pools()
	}
	return nil
}
