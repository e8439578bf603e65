package prefetch

import (
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/params"
)

// namedKeys is what the block names by itself, without running anything.
func (r *collection) namedKeys() wishes {
	named := map[common.Address][]common.Hash{
		r.block.Coinbase():               nil,
		params.BeaconRootsAddress:        nil,
		params.HistoryStorageAddress:     nil,
		params.WithdrawalQueueAddress:    nil,
		params.ConsolidationQueueAddress: nil,
	}
	add := func(addr common.Address, slots ...common.Hash) { named[addr] = append(named[addr], slots...) }
	for i, tx := range r.block.Transactions() {
		add(r.senders[i])
		if to := tx.To(); to != nil {
			add(*to, r.spec.LikelySlots(*to, tx.Data())...)
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
	for _, withdrawal := range r.block.Withdrawals() {
		add(withdrawal.Address)
	}
	// A guess does the looking up: it notes what is missing of each.
	guess := r.found.State()
	reader, err := guess.Reader(r.parent.Root)
	if err != nil {
		return wishes{}
	}
	for addr, slots := range named {
		account, err := reader.Account(addr)
		if err != nil {
			continue
		}
		if account != nil {
			reader.Code(addr, common.BytesToHash(account.CodeHash))
		}
		guess.Want(addr, slots...)
	}
	var missed wishes
	missed.add(guess)
	return missed
}
