// SPDX-License-Identifier: LGPL-3.0-or-later

package bench

import (
	"context"
	"sync"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/consensus"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/state"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/core/vm"
	"github.com/ethereum/go-ethereum/params"

	"github.com/sunbeam-eth/sunbeam/evm"
	"github.com/sunbeam-eth/sunbeam/trie"
)

// besidePreviews executes the block as Trinity did; see [Trinity].
func (a *attempt) besidePreviews(ctx context.Context) *evm.Result {
	ahead, cancel := context.WithCancel(ctx)
	var previews sync.WaitGroup
	defer previews.Wait()
	defer cancel()
	// What a preview misses says nothing about the witness: it may be wrong.
	guesses := &source{Session: a.source.Session, file: a.file, single: true, trips: a.source.trips}

	a.source.trips.stage("prefetch")
	a.fetchNamed(ahead, guesses)
	for i := range a.file.Block.Transactions() {
		previews.Go(func() { a.preview(ahead, guesses, i) })
	}
	return a.execute(ctx)
}

// fetchNamed gets the accounts that the block names, all at once.
func (a *attempt) fetchNamed(ctx context.Context, from *source) {
	var (
		block   = a.file.Block
		signer  = types.MakeSigner(a.file.Config, block.Number(), block.Time())
		named   = map[common.Address]bool{block.Coinbase(): true}
		running sync.WaitGroup
	)
	for _, tx := range block.Transactions() {
		if sender, err := types.Sender(signer, tx); err == nil {
			named[sender] = true
		}
		if to := tx.To(); to != nil {
			named[*to] = true
		}
	}
	for addr := range named {
		running.Go(func() {
			db := trie.Open(ctx, a.file.PreRoot, a.store, from)
			if reader, err := db.Reader(a.file.PreRoot); err == nil {
				_, _ = reader.Account(addr)
			}
		})
	}
	running.Wait()
}

// preview runs one transaction on the parent's state, for what it reads.
func (a *attempt) preview(ctx context.Context, from *source, i int) {
	var (
		block  = a.file.Block
		tx     = block.Transactions()[i]
		header = block.Header()
	)
	statedb, err := state.New(a.file.PreRoot, trie.Open(ctx, a.file.PreRoot, a.store, from))
	if err != nil {
		return
	}
	msg, err := core.TransactionToMessage(tx, types.MakeSigner(a.file.Config, header.Number, header.Time), header.BaseFee)
	if err != nil {
		return
	}
	machine := vm.NewEVM(core.NewEVMBlockContext(header, noAncestors{a.file.Config}, &header.Coinbase), statedb, a.file.Config, vm.Config{})
	defer machine.Release()
	stop := context.AfterFunc(ctx, machine.Cancel)
	defer stop()
	statedb.SetTxContext(tx.Hash(), i, uint32(i+1))
	_, _ = core.ApplyMessage(machine, msg.SkipNonceCheck(), core.NewGasPool(block.GasLimit()))
}

// noAncestors answers BLOCKHASH with zero.
type noAncestors struct{ config *params.ChainConfig }

func (n noAncestors) Config() *params.ChainConfig               { return n.config }
func (noAncestors) Engine() consensus.Engine                    { return nil }
func (noAncestors) CurrentHeader() *types.Header                { return nil }
func (noAncestors) GetHeader(common.Hash, uint64) *types.Header { return nil }
func (noAncestors) GetHeaderByHash(common.Hash) *types.Header   { return nil }
func (noAncestors) GetHeaderByNumber(uint64) *types.Header      { return nil }
