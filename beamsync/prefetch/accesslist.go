package prefetch

import (
	"context"

	"github.com/ethereum/go-ethereum/common"

	"github.com/sunbeam-eth/sunbeam/trie"
)

const (
	// listRounds is how often siblings are looked for: deleting one key shows the siblings
	// that it takes, those of the next may show only then.
	listRounds = 3
	// maxRiders is how many storage keys ride with one mention of their account: so many paths
	// are about half a request.
	maxRiders = 16
)

// fetchListed gets what the block's access list names: accounts with their storage in one trip;
// then their codes and the siblings of what is deleted.
func (r *collection) fetchListed(ctx context.Context) error {
	guess := r.found.State()
	reader, err := guess.Reader(r.parent.Root)
	if err != nil {
		return err
	}
	for _, account := range *r.block.AccessList() {
		_, _ = reader.Account(account.Address)
		var slots []common.Hash
		for _, change := range account.StorageChanges {
			slots = append(slots, change.Slot.Bytes32())
		}
		for _, slot := range account.StorageReads {
			slots = append(slots, slot.Bytes32())
		}
		guess.Want(account.Address, slots...)
	}
	var missed wishes
	missed.add(guess)
	missed.expect()
	if _, err := r.fetch(ctx, missed); err != nil {
		return err
	}
	for range listRounds {
		guess := r.found.State()
		reader, err := guess.Reader(r.parent.Root)
		if err != nil {
			return err
		}
		for _, account := range *r.block.AccessList() {
			if held, err := reader.Account(account.Address); err == nil && held != nil {
				reader.Code(account.Address, common.BytesToHash(held.CodeHash))
			}
		}
		r.spec.SpeculateRoot(r.block, r.parent, guess)
		var missed wishes
		missed.add(guess)
		if some, err := r.fetch(ctx, missed); err != nil || !some {
			return err
		}
	}
	return nil
}

// spread mentions accounts with much storage several times, so that it fits into requests and
// these can go to several peers.
func spread(faults []trie.Fault) []trie.Fault {
	var all []trie.Fault
	for _, fault := range faults {
		riders := fault.StorageKeys
		for len(riders) > maxRiders {
			fault.StorageKeys, riders = riders[:maxRiders:maxRiders], riders[maxRiders:]
			all = append(all, fault)
		}
		fault.StorageKeys = riders
		all = append(all, fault)
	}
	return all
}
