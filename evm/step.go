// SPDX-License-Identifier: LGPL-3.0-or-later

package evm

import (
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/state"
	"github.com/ethereum/go-ethereum/core/tracing"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/holiman/uint256"
)

// stepReader implements state.Reader on the state within a block, and records what a step reads.
type stepReader struct {
	*blockState
	record *stepRecord
}

// Account implements state.StateReader.
func (r stepReader) Account(addr common.Address) (*types.StateAccount, error) {
	account, changed, err := r.account(addr)
	if err != nil {
		return nil, err
	}
	r.record.accounts[addr] = accountRead{account: account, changed: changed}
	if account == nil {
		return nil, nil
	}
	return account.Copy(), nil
}

// Storage implements state.StateReader.
func (r stepReader) Storage(addr common.Address, slot common.Hash) (common.Hash, error) {
	key := slotKey{addr, slot}
	value, changed, err := r.slot(key)
	if err == nil {
		r.record.slots[key] = slotRead{value, changed}
	}
	return value, err
}

// Code implements state.ContractCodeReader.
func (r stepReader) Code(addr common.Address, hash common.Hash) []byte {
	if code, created := r.codes[hash]; created {
		return code
	}
	return r.parent.Code(addr, hash)
}

// CodeSize implements state.ContractCodeReader.
func (r stepReader) CodeSize(addr common.Address, hash common.Hash) int {
	return len(r.Code(addr, hash))
}

// Has implements state.ContractCodeReader.
func (r stepReader) Has(addr common.Address, hash common.Hash) bool {
	return len(r.Code(addr, hash)) > 0
}

// stepState is the StateDB of one step. It records what the step changes, and the balances that it reads.
type stepState struct {
	*state.StateDB
	record   *stepRecord
	accounts map[common.Address]struct{} // that were changed, perhaps back
	slots    map[slotKey]struct{}        // likewise
}

// newStepState begins a step. Only its tries are those of db, as long as nobody asks for its root.
func newStepState(root common.Hash, db state.Database, within *blockState) (*stepState, error) {
	record := &stepRecord{
		accounts:    make(map[common.Address]accountRead),
		slots:       make(map[slotKey]slotRead),
		slotChanges: make(map[slotKey]common.Hash),
	}
	statedb, err := state.NewWithReader(root, db, stepReader{within, record})
	if err != nil {
		return nil, err
	}
	return &stepState{statedb, record, make(map[common.Address]struct{}), make(map[slotKey]struct{})}, nil
}

// close ends the step, which was finalised, and completes its record.
func (s *stepState) close() *stepRecord {
	for addr := range s.accounts {
		if change, changed := s.accountChange(addr, s.record.accounts[addr].account); changed {
			s.record.accountChanges = append(s.record.accountChanges, change)
		}
	}
	for key := range s.slots {
		if value := s.GetState(key.addr, key.slot); value != s.record.slots[key].value && s.Exist(key.addr) {
			s.record.slotChanges[key] = value
		}
	}
	return s.record
}

// accountChange compares an account with what it was before the step.
func (s *stepState) accountChange(addr common.Address, before *types.StateAccount) (change accountChange, changed bool) {
	change.addr = addr
	if !s.Exist(addr) {
		change.deleted = true
		return change, before != nil
	}
	created := before == nil
	if created {
		before = types.NewEmptyStateAccount()
	}
	codeHash := common.BytesToHash(before.CodeHash)
	change.nonce, change.codeHash = s.GetNonce(addr), s.GetCodeHash(addr)
	change.credit.Sub(s.StateDB.GetBalance(addr), before.Balance)
	if change.codeHash != codeHash {
		change.code = s.GetCode(addr)
	}
	return change, created || change.nonce != before.Nonce || change.codeHash != codeHash || !change.credit.IsZero()
}

func (s *stepState) change(addr common.Address) { s.accounts[addr] = struct{}{} }

// GetBalance implements vm.StateDB.
func (s *stepState) GetBalance(addr common.Address) *uint256.Int {
	balance := s.StateDB.GetBalance(addr)
	if read, ok := s.record.accounts[addr]; ok && !read.balance {
		read.balance = true
		s.record.accounts[addr] = read
	}
	return balance
}

// AddBalance implements vm.StateDB.
func (s *stepState) AddBalance(addr common.Address, amount *uint256.Int, reason tracing.BalanceChangeReason) uint256.Int {
	s.change(addr)
	return s.StateDB.AddBalance(addr, amount, reason)
}

// SubBalance implements vm.StateDB.
func (s *stepState) SubBalance(addr common.Address, amount *uint256.Int, reason tracing.BalanceChangeReason) uint256.Int {
	s.change(addr)
	return s.StateDB.SubBalance(addr, amount, reason)
}

// SetNonce implements vm.StateDB.
func (s *stepState) SetNonce(addr common.Address, nonce uint64, reason tracing.NonceChangeReason) {
	s.change(addr)
	s.StateDB.SetNonce(addr, nonce, reason)
}

// SetCode implements vm.StateDB.
func (s *stepState) SetCode(addr common.Address, code []byte, reason tracing.CodeChangeReason) []byte {
	s.change(addr)
	return s.StateDB.SetCode(addr, code, reason)
}

// SetState implements vm.StateDB.
func (s *stepState) SetState(addr common.Address, slot, value common.Hash) common.Hash {
	s.slots[slotKey{addr, slot}] = struct{}{}
	return s.StateDB.SetState(addr, slot, value)
}

// CreateAccount implements vm.StateDB.
func (s *stepState) CreateAccount(addr common.Address) {
	s.change(addr)
	s.StateDB.CreateAccount(addr)
}

// CreateContract implements vm.StateDB.
func (s *stepState) CreateContract(addr common.Address) {
	s.change(addr)
	s.StateDB.CreateContract(addr)
}

// SelfDestruct implements vm.StateDB.
func (s *stepState) SelfDestruct(addr common.Address) {
	s.change(addr)
	s.StateDB.SelfDestruct(addr)
}
