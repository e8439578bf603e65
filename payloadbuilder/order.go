// SPDX-License-Identifier: LGPL-3.0-or-later

package payloadbuilder

import (
	"container/heap"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/txpool"
	"github.com/holiman/uint256"
)

// candidate is the next transaction of one sender.
type candidate struct {
	tx    *txpool.LazyTransaction
	tip   uint256.Int // wei per gas that it pays to the fee recipient
	later []*txpool.LazyTransaction
	waits bool // for a transaction of the sender that was left out
}

// candidates is a heap of the next transaction of each sender: the highest tip first. Of equal tips, those without blobs come
// first, in the order in which the pool saw them; then those that offer the most gas for each blob, because blobs run
// out before gas does.
type candidates struct {
	queue   candidateHeap
	baseFee uint256.Int
}

// newCandidates takes the executable transactions of each sender, in the order of nonces.
func newCandidates(baseFee *uint256.Int, pending ...map[common.Address][]*txpool.LazyTransaction) *candidates {
	c := &candidates{baseFee: *baseFee}
	for _, senders := range pending {
		for _, txs := range senders {
			if next := c.next(txs); next != nil {
				c.queue = append(c.queue, next)
			}
		}
	}
	heap.Init(&c.queue)
	return c
}

// next makes the candidate of a sender, nil if its first transaction does not pay the base fee.
func (c *candidates) next(txs []*txpool.LazyTransaction) *candidate {
	if len(txs) == 0 || txs[0].GasFeeCap.Lt(&c.baseFee) {
		return nil
	}
	next := &candidate{tx: txs[0], later: txs[1:]}
	next.tip.Sub(next.tx.GasFeeCap, &c.baseFee)
	if next.tip.Gt(next.tx.GasTipCap) {
		next.tip.Set(next.tx.GasTipCap)
	}
	return next
}

// best returns the candidate with the highest tip, nil if there is none.
func (c *candidates) best() *candidate {
	if len(c.queue) == 0 {
		return nil
	}
	return c.queue[0]
}

// shift replaces the best candidate by the next transaction of its sender.
func (c *candidates) shift() { c.replace(false) }

// leaveOut is shift for a candidate that is left out: those after it wait for it.
func (c *candidates) leaveOut() { c.replace(true) }

func (c *candidates) replace(waits bool) {
	next := c.next(c.queue[0].later)
	if next == nil {
		c.drop()
		return
	}
	next.waits = waits
	c.queue[0] = next
	heap.Fix(&c.queue, 0)
}

// drop removes the best candidate and all other transactions of its sender.
func (c *candidates) drop() { heap.Pop(&c.queue) }

// candidateHeap implements heap.Interface.
type candidateHeap []*candidate

func (h candidateHeap) Len() int { return len(h) }

func (h candidateHeap) Less(i, j int) bool {
	if order := h[i].tip.Cmp(&h[j].tip); order != 0 {
		return order > 0
	}
	a, b := h[i].tx, h[j].tx
	switch {
	case (a.BlobGas > 0) != (b.BlobGas > 0):
		return b.BlobGas > 0
	case a.BlobGas > 0:
		return float64(a.Gas)/float64(a.BlobGas) > float64(b.Gas)/float64(b.BlobGas)
	}
	return a.Time.Before(b.Time)
}

func (h candidateHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }

func (h *candidateHeap) Push(x any) { *h = append(*h, x.(*candidate)) }

func (h *candidateHeap) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}
