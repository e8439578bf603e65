// SPDX-License-Identifier: LGPL-3.0-or-later

package evm

import (
	"bytes"
	"sync"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/holiman/uint256"
)

// The steps of a block are its transactions, by index, and what comes before and after them.
const stepBefore = -1

// Progress is what speculation on one block has completed: for each step that missed no state when it was executed last, what
// it read and wrote. Later runs take over what it wrote and do not execute it, as long as it would read the same. So each
// round executes only what still misses something, and what depends on that.
//
// All speculations on a block share one. It is safe for concurrent use.
type Progress struct {
	mu   sync.Mutex
	done map[int]*stepRecord
}

// NewProgress returns the progress of a block on which no speculation ran.
func NewProgress() *Progress { return &Progress{done: make(map[int]*stepRecord)} }

// record returns the last complete execution of a step, nil if there is none. Progress may be nil.
func (p *Progress) record(step int) *stepRecord {
	if p == nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.done[step]
}

func (p *Progress) complete(step int, record *stepRecord) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done[step] = record
}

// stepRecord is what a step read of the state before it, and how it changes that state. It is not modified once it is in a
// Progress.
type stepRecord struct {
	accounts map[common.Address]accountRead
	slots    map[slotKey]slotRead

	accountChanges []accountChange
	slotChanges    map[slotKey]common.Hash
}

// accountRead is what a step found as an account.
type accountRead struct {
	account *types.StateAccount // nil: there was none
	changed bool                // by an earlier step: it is not the one of the parent's state
	balance bool                // the balance was read. Payments alone do not read it, and nearly every step pays the coinbase
}

// slotRead is what a step found in a slot.
type slotRead struct {
	value   common.Hash
	changed bool // as in accountRead
}

// accountChange is an account that a step changes.
type accountChange struct {
	addr     common.Address
	deleted  bool
	nonce    uint64
	codeHash common.Hash
	code     []byte      // nil if the step did not set it
	credit   uint256.Int // is added to the balance, modulo 2^256
}

// matches says whether a step that reads now would read the same as in the read r.
func (r accountRead) matches(now *types.StateAccount) bool {
	if r.account == nil || now == nil {
		return r.account == nil && now == nil
	}
	return r.account.Nonce == now.Nonce && bytes.Equal(r.account.CodeHash, now.CodeHash) &&
		(!r.balance || r.account.Balance.Eq(now.Balance))
}
