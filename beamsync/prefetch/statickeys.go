// SPDX-License-Identifier: LGPL-3.0-or-later

package prefetch

import (
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/params"
)

// staticKeys returns what is missing of the accounts and slots that the block names without
// being run.
func (b *blockPrefetch) staticKeys() missing {
	keys := map[common.Address][]common.Hash{
		b.block.Coinbase():               nil,
		params.BeaconRootsAddress:        nil,
		params.HistoryStorageAddress:     nil,
		params.WithdrawalQueueAddress:    nil,
		params.ConsolidationQueueAddress: nil,
	}
	add := func(addr common.Address, slots ...common.Hash) { keys[addr] = append(keys[addr], slots...) }
	for i, tx := range b.block.Transactions() {
		add(b.senders[i])
		if to := tx.To(); to != nil {
			add(*to, b.speculator.LikelySlots(*to, tx.Data())...)
		}
		for _, tuple := range tx.AccessList() {
			add(tuple.Address, tuple.StorageKeys...)
		}
		for _, auth := range tx.SetCodeAuthorizations() {
			if from, err := auth.Authority(); err == nil {
				add(from)
			}
			add(auth.Address)
		}
	}
	for _, withdrawal := range b.block.Withdrawals() {
		add(withdrawal.Address)
	}
	// Reading them on a partial state records what is missing of each.
	state := b.lookups.State()
	reader, err := state.Reader(b.parent.Root)
	if err != nil {
		return missing{}
	}
	for addr, slots := range keys {
		account, err := reader.Account(addr)
		if err != nil {
			continue
		}
		if account != nil {
			reader.Code(addr, common.BytesToHash(account.CodeHash))
		}
		state.Want(addr, slots...)
	}
	var missed missing
	missed.add(state)
	return missed
}
