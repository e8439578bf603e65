// SPDX-License-Identifier: LGPL-3.0-or-later

package evm

import (
	"maps"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/state"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/holiman/uint256"
)

// blockState is the state within a block, as one speculation has it: the parent's state and what the steps so far changed.
// It is not safe for concurrent use.
type blockState struct {
	parent   state.Reader
	accounts map[common.Address]changedAccount
	slots    map[slotKey]common.Hash
	codes    map[common.Hash][]byte // of new contracts
}

// changedAccount is an account as the last step that changed it left it.
type changedAccount struct {
	account *types.StateAccount // nil: it was deleted
	cleared bool                // it was deleted, perhaps created again: its storage in the parent's state is gone
}

func newBlockState(parent state.Reader) *blockState {
	return &blockState{
		parent:   parent,
		accounts: make(map[common.Address]changedAccount),
		slots:    make(map[slotKey]common.Hash),
		codes:    make(map[common.Hash][]byte),
	}
}

// account returns an account, and whether a step changed it. The result must not be modified.
func (s *blockState) account(addr common.Address) (account *types.StateAccount, changed bool, err error) {
	if now, ok := s.accounts[addr]; ok {
		return now.account, true, nil
	}
	account, err = s.parent.Account(addr)
	return account, false, err
}

// slot returns the value of a slot, and whether a step changed it.
func (s *blockState) slot(key slotKey) (value common.Hash, changed bool, err error) {
	if value, changed = s.changedSlot(key); changed {
		return value, true, nil
	}
	value, err = s.parent.Storage(key.addr, key.slot)
	return value, false, err
}

func (s *blockState) changedSlot(key slotKey) (value common.Hash, changed bool) {
	if value, changed = s.slots[key]; changed {
		return value, true
	}
	return common.Hash{}, s.accounts[key.addr].cleared
}

// holds says whether a step would read now what it read in a record without misses: what it read of the parent's state
// cannot have changed.
func (s *blockState) holds(record *stepRecord) bool {
	for addr, read := range record.accounts {
		now, changed := s.accounts[addr]
		if !changed && read.changed || changed && !read.matches(now.account) {
			return false
		}
	}
	for key, read := range record.slots {
		now, changed := s.changedSlot(key)
		if !changed && read.changed || changed && now != read.value {
			return false
		}
	}
	return true
}

// apply makes the changes of a step.
func (s *blockState) apply(record *stepRecord) error {
	for _, change := range record.accountChanges {
		before, _, err := s.account(change.addr)
		if err != nil {
			return err
		}
		now := s.accounts[change.addr]
		switch now.account = nil; {
		case change.deleted:
			now.cleared = true
			maps.DeleteFunc(s.slots, func(key slotKey, _ common.Hash) bool { return key.addr == change.addr })
		default:
			now.account = types.NewEmptyStateAccount()
			if before != nil {
				now.account.Root, now.account.Balance = before.Root, before.Balance
			}
			now.account.Nonce, now.account.CodeHash = change.nonce, change.codeHash[:]
			now.account.Balance = new(uint256.Int).Add(now.account.Balance, &change.credit)
		}
		if change.code != nil {
			s.codes[change.codeHash] = change.code
		}
		s.accounts[change.addr] = now
	}
	maps.Copy(s.slots, record.slotChanges)
	return nil
}
