// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"bytes"
	"math/big"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/state"
	"github.com/ethereum/go-ethereum/core/tracing"
)

// diffRecorder records which accounts and slots a transaction writes, to compare the states before and after it.
type diffRecorder struct {
	before *state.StateDB // a copy
	slots  map[common.Address]map[common.Hash]struct{}
	meter  *traceMeter
}

func newDiffRecorder(before *state.StateDB, meter *traceMeter) *diffRecorder {
	return &diffRecorder{before: before.Copy(), slots: make(map[common.Address]map[common.Hash]struct{}), meter: meter}
}

func (r *diffRecorder) addTo(h *tracing.Hooks) {
	h.OnBalanceChange = func(addr common.Address, _, _ *big.Int, _ tracing.BalanceChangeReason) { r.touch(addr) }
	h.OnNonceChangeV2 = func(addr common.Address, _, _ uint64, _ tracing.NonceChangeReason) { r.touch(addr) }
	h.OnCodeChangeV2 = func(addr common.Address, _ common.Hash, _ []byte, _ common.Hash, code []byte, _ tracing.CodeChangeReason) {
		r.touch(addr)
		r.meter.add(2 * len(code))
	}
	h.OnStorageChange = func(addr common.Address, slot, _, _ common.Hash) {
		slots := r.touch(addr)
		if _, ok := slots[slot]; !ok {
			slots[slot] = struct{}{}
			r.meter.add(frameOverhead)
		}
	}
}

func (r *diffRecorder) touch(addr common.Address) map[common.Hash]struct{} {
	slots := r.slots[addr]
	if slots == nil {
		slots = make(map[common.Hash]struct{})
		r.slots[addr] = slots
		r.meter.add(frameOverhead)
	}
	return slots
}

// result are the accounts that differ in the state after the transaction.
func (r *diffRecorder) result(after *state.StateDB) map[common.Address]*accountDiff {
	diffs := make(map[common.Address]*accountDiff)
	for addr, slots := range r.slots {
		if diff := r.account(after, addr, slots); diff != nil {
			diffs[addr] = diff
		}
	}
	return diffs
}

// account compares an account in both states; nil if nothing differs.
func (r *diffRecorder) account(after *state.StateDB, addr common.Address, slots map[common.Hash]struct{}) *accountDiff {
	from, to := accountValues(r.before, addr), accountValues(after, addr)
	if from == nil && to == nil {
		return nil
	}
	diff := &accountDiff{Storage: make(map[common.Hash]valueDiff)}
	for slot := range slots {
		was, is := r.before.GetState(addr, slot), after.GetState(addr, slot)
		switch {
		case was == is:
		case from == nil:
			diff.Storage[slot] = valueDiff{nil, is}
		case to == nil:
			diff.Storage[slot] = valueDiff{was, nil}
		default:
			diff.Storage[slot] = valueDiff{was, is}
		}
	}
	switch {
	case from == nil:
		diff.Balance, diff.Code, diff.Nonce = valueDiff{nil, to.balance}, valueDiff{nil, to.code}, valueDiff{nil, to.nonce}
		return diff
	case to == nil:
		diff.Balance, diff.Code, diff.Nonce = valueDiff{from.balance, nil}, valueDiff{from.code, nil}, valueDiff{from.nonce, nil}
		return diff
	}
	changed := len(diff.Storage) > 0
	if from.balance.ToInt().Cmp(to.balance.ToInt()) != 0 {
		diff.Balance, changed = valueDiff{from.balance, to.balance}, true
	}
	if !bytes.Equal(from.code, to.code) {
		diff.Code, changed = valueDiff{from.code, to.code}, true
	}
	if from.nonce != to.nonce {
		diff.Nonce, changed = valueDiff{from.nonce, to.nonce}, true
	}
	if !changed {
		return nil
	}
	return diff
}

// accountState is an account without its storage.
type accountState struct {
	balance *hexutil.Big
	code    hexutil.Bytes
	nonce   hexutil.Uint64
}

// accountValues reads an account, nil if it does not exist.
func accountValues(statedb *state.StateDB, addr common.Address) *accountState {
	if !statedb.Exist(addr) {
		return nil
	}
	return &accountState{
		balance: (*hexutil.Big)(statedb.GetBalance(addr).ToBig()),
		code:    statedb.GetCode(addr), nonce: hexutil.Uint64(statedb.GetNonce(addr)),
	}
}
