// SPDX-License-Identifier: LGPL-3.0-or-later

package evm

import (
	"github.com/ethereum/go-ethereum/core/state"
	"github.com/ethereum/go-ethereum/core/tracing"
	"github.com/ethereum/go-ethereum/core/types"

	"github.com/sunbeam-eth/sunbeam/trie"
)

// SpeculateRoot applies the post-values of the block's access list and computes the new state root.
// Where that deletes a key it reads sibling nodes, which no access list names. The only result is what
// partial recorded as missing.
func (e *Executor) SpeculateRoot(block *types.Block, parent *types.Header, partial *trie.PartialState) {
	defer e.recoverRun(&speculationRun{block: block})
	statedb, err := state.New(parent.Root, partial)
	if err != nil || block.AccessList() == nil {
		return
	}
	for _, account := range *block.AccessList() {
		addr := account.Address
		for _, change := range account.StorageChanges {
			if n := len(change.SlotChanges); n > 0 {
				statedb.SetState(addr, change.Slot.Bytes32(), change.SlotChanges[n-1].PostValue.Bytes32())
			}
		}
		if n := len(account.BalanceChanges); n > 0 {
			statedb.SetBalance(addr, account.BalanceChanges[n-1].PostBalance, tracing.BalanceChangeUnspecified)
		}
		if n := len(account.NonceChanges); n > 0 {
			statedb.SetNonce(addr, account.NonceChanges[n-1].PostNonce, tracing.NonceChangeUnspecified)
		}
		if n := len(account.CodeChanges); n > 0 {
			statedb.SetCode(addr, account.CodeChanges[n-1].NewCode, tracing.CodeChangeUnspecified)
		}
	}
	statedb.IntermediateRoot(e.config.Rules(block.Number(), block.Difficulty().Sign() == 0, block.Time()))
}
