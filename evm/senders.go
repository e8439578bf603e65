// SPDX-License-Identifier: LGPL-3.0-or-later

package evm

import (
	"runtime"
	"sync"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/params"
)

// Senders recovers the sender of every transaction. It is the zero address where the signature is
// invalid: the execution rejects such a block.
func (e *Executor) Senders(block *types.Block) []common.Address {
	recoverSenders(e.config, block).Wait()
	signer := types.MakeSigner(e.config, block.Number(), block.Time())
	senders := make([]common.Address, len(block.Transactions()))
	for i, tx := range block.Transactions() {
		senders[i], _ = types.Sender(signer, tx)
	}
	return senders
}

// recoverSenders fills the sender caches of the transactions on all processors. It ignores invalid
// signatures, because the execution finds them again.
func recoverSenders(config *params.ChainConfig, block *types.Block) *sync.WaitGroup {
	var (
		signer  = types.MakeSigner(config, block.Number(), block.Time())
		txs     = block.Transactions()
		workers = min(runtime.GOMAXPROCS(0), len(txs))
		running sync.WaitGroup
	)
	for first := range workers {
		running.Go(func() {
			for i := first; i < len(txs); i += workers {
				_, _ = types.Sender(signer, txs[i])
			}
		})
	}
	return &running
}
