// SPDX-License-Identifier: LGPL-3.0-or-later

package evm

import (
	"cmp"
	"fmt"
	"slices"
)

// saveInterval is the number of transactions after which a draft on partial state copies its state. Going back
// executes at most so many again. A copy costs about 1 ms for each 1,000 accounts and slots. If the state is complete, only
// a header that is not stored makes a draft go back, so it has the copy from before the transactions and no other.
const saveInterval = 16

// save copies the state, to go back to it.
func (d *Draft) save() {
	saved := d.now
	saved.machine = nil
	saved.statedb = d.now.statedb.Copy()
	saved.gas = d.now.gas.Snapshot()
	d.saved = &saved
}

// goBack returns to the state before a transaction that missed state or a header, and returns the reason. If complete
// state could not be read, that ends the draft.
func (d *Draft) goBack(reason error) error {
	if d.job.Complete && !d.chain.missed {
		d.broken = fmt.Errorf("%w: complete state: %w", ErrInternal, reason)
		return d.broken
	}
	again := slices.Clone(d.now.txs[len(d.saved.txs):])
	sidecars := d.now.sidecars[len(d.saved.sidecars):]
	d.now.machine.Release()
	_ = d.forget(reason)
	d.now, d.saved = *d.saved, nil
	// What is appended from here on must not overwrite the arrays of the state before.
	d.now.txs, d.now.receipts = slices.Clip(d.now.txs), slices.Clip(d.now.receipts)
	d.now.sidecars, d.now.lists = slices.Clip(d.now.sidecars), slices.Clip(d.now.lists)
	d.now.machine = d.newMachine(d.now.statedb)
	for _, tx := range again {
		receipt, list, err := d.execute(tx)
		if reads := d.checkReads(d.now.statedb); err != nil || reads != nil {
			d.broken = fmt.Errorf("%w: transaction %x fails when it is executed again: %w", ErrInternal, tx.Hash(), cmp.Or(err, reads))
			return d.broken
		}
		if len(tx.BlobHashes()) == 0 {
			d.accept(tx, nil, receipt, list)
			continue
		}
		d.accept(tx, sidecars[0], receipt, list)
		sidecars = sidecars[1:]
	}
	d.save()
	return reason
}
