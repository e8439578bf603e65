// SPDX-License-Identifier: LGPL-3.0-or-later

package pool

import (
	"maps"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/txpool"
)

// Pending returns the executable transactions that pass a filter, by sender and in the order of nonces: plain ones, or
// those with blobs if the filter says so. They are valid on the head that the pool is on, which may be behind the
// chain's for a moment.
func (p *Pool) Pending(filter txpool.PendingFilter) map[common.Address][]*txpool.LazyTransaction {
	pending := make(map[common.Address][]*txpool.LazyTransaction)
	for _, pool := range p.open() {
		txs, _ := pool.Pending(filter)
		maps.Copy(pending, txs)
	}
	return pending
}
