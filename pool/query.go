// SPDX-License-Identifier: LGPL-3.0-or-later

package pool

import (
	"maps"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/txpool"
	"github.com/ethereum/go-ethereum/core/types"
)

// Reads of the pool in memory. Before its first head the pool is empty.

// Get returns a pooled transaction, with its blobs if it has any; nil if it is not in the pool.
func (p *Pool) Get(hash common.Hash) *types.Transaction {
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

// Encoded returns a pooled transaction in network encoding for a version of eth below 72 (with its
// blobs), nil if it is not in the pool.
func (p *Pool) Encoded(hash common.Hash) []byte {
	for _, pool := range p.open() {
		if enc := pool.GetRLP(hash, 0); len(enc) > 0 {
			return enc
		}
	}
	return nil
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
