package evm

import (
	"github.com/ethereum/go-ethereum/core/state"
	"github.com/ethereum/go-ethereum/core/tracing"
	"github.com/ethereum/go-ethereum/core/types"

	"github.com/sunbeam-eth/sunbeam/trie"
)

// Listed says whether the block came with the access list that its header commits to (EIP-7928).
func Listed(block *types.Block) bool {
	list, want := block.AccessList(), block.BlockAccessListHash()
	return list != nil && want != nil && list.Hash() == *want
}

// SpeculateRoot makes the changes that the block's access list tells and computes the new root: where
// something is deleted that takes siblings, which no list names. Nothing comes out but what was
// noted.
func (e *Executor) SpeculateRoot(block *types.Block, parent *types.Header, guess *trie.Guess) {
	defer func() { _ = recover() }() // the list may tell anything
	statedb, err := state.New(parent.Root, guess)
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
