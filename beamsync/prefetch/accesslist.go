// SPDX-License-Identifier: LGPL-3.0-or-later

package prefetch

import (
	"context"

	"github.com/ethereum/go-ethereum/common"

	"github.com/sunbeam-eth/sunbeam/trie"
)

const (
	// listRounds is how often siblings of deleted nodes are looked for: deleting one key shows
	// the siblings that this needs, and those of the next key may show only then.
	listRounds = 3
	// maxStorageKeys is how many storage keys go with one mention of their account: their paths
	// are about half a request.
	maxStorageKeys = 16
)

// fetchListed fetches what the block's access list names: accounts with their storage in one
// round trip, then their codes and the siblings of deleted nodes.
func (b *blockPrefetch) fetchListed(ctx context.Context) error {
	keys, err := b.listedKeys()
	if err != nil {
		return err
	}
	if _, err := b.fetch(ctx, keys); err != nil {
		return err
	}
	for range listRounds {
		state := b.lookups.State()
		reader, err := state.Reader(b.parent.Root)
		if err != nil {
			return err
		}
		for _, listed := range *b.block.AccessList() {
			if account, err := reader.Account(listed.Address); err == nil && account != nil {
				reader.Code(listed.Address, common.BytesToHash(account.CodeHash))
			}
		}
		b.speculator.SpeculateRoot(b.block, b.parent, state)
		var missed missing
		missed.add(state)
		if some, err := b.fetch(ctx, missed); err != nil || !some {
			return err
		}
	}
	return nil
}

// listedKeys returns what is missing of the accounts and slots in the access list, all of it
// required.
func (b *blockPrefetch) listedKeys() (missed missing, err error) {
	state := b.lookups.State()
	reader, err := state.Reader(b.parent.Root)
	if err != nil {
		return missed, err
	}
	for _, account := range *b.block.AccessList() {
		_, _ = reader.Account(account.Address)
		var slots []common.Hash
		for _, change := range account.StorageChanges {
			slots = append(slots, change.Slot.Bytes32())
		}
		for _, slot := range account.StorageReads {
			slots = append(slots, slot.Bytes32())
		}
		state.Want(account.Address, slots...)
	}
	missed.add(state)
	missed.requireAll()
	return missed, nil
}

// splitStorageKeys mentions an account with many storage keys several times, so that each
// mention fits into a request and they can go to several peers.
func splitStorageKeys(faults []trie.Fault) []trie.Fault {
	var all []trie.Fault
	for _, fault := range faults {
		keys := fault.StorageKeys
		for len(keys) > maxStorageKeys {
			fault.StorageKeys, keys = keys[:maxStorageKeys:maxStorageKeys], keys[maxStorageKeys:]
			all = append(all, fault)
		}
		fault.StorageKeys = keys
		all = append(all, fault)
	}
	return all
}
