// SPDX-License-Identifier: LGPL-3.0-or-later

package pool

import (
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/core/types"
)

// TestChaos sends from all sides while heads move and turn, and reads fail at random. Nobody hears
// anything that is not true, and in the end nothing is lost.
func TestChaos(t *testing.T) {
	const perSender = 12
	w := newChainWorld(t)
	n := startPool(t, w)
	n.settle()
	over := make(chan struct{})
	var disturbing, sending sync.WaitGroup
	disturbing.Go(func() { // fails a read now and then
		random := rand.New(rand.NewPCG(1, 2))
		for {
			select {
			case <-time.After(time.Millisecond):
				n.net.set(random.IntN(12), nil) // 0: none
			case <-over:
				return
			}
		}
	})
	disturbing.Go(func() { // moves the head, and turns to a sibling
		for i := byte(0); ; i++ {
			select {
			case <-time.After(5 * time.Millisecond):
			case <-over:
				return
			}
			parent := w.current()
			if i%3 == 2 {
				parent = w.Block(parent.ParentHash())
			}
			w.setHead(w.build(parent, i, executable(n, parent)...))
		}
	})
	for _, key := range keys {
		sending.Go(func() {
			for nonce := uint64(0); nonce < perSender; {
				switch err := n.send(plain(key, nonce)); {
				case err == nil:
					nonce++
				case !errors.Is(err, ErrUnavailable):
					t.Errorf("transaction %d of %x: %v", nonce, addr(key), err)
					return
				}
			}
		})
		sending.Go(func() {
			for range 20 {
				if err := n.send(plain(poorKey, 0)); err == nil {
					t.Error("who has nothing sent something")
				}
				if nonce, err := n.Nonce(t.Context(), addr(key)); err == nil && nonce > perSender || err != nil && !errors.Is(err, ErrUnavailable) {
					t.Errorf("nonce %d, %v", nonce, err)
				}
			}
		})
	}
	sending.Wait()
	close(over)
	disturbing.Wait()
	n.net.set(0, nil)
	w.extend()
	n.settle()
	if n.at.Load().accounts.missed.Load() {
		t.Error("an account was looked up that was not read")
	}
	for _, key := range keys {
		if nonce := n.nonce(t, addr(key)); nonce != perSender {
			t.Errorf("next nonce of %x is %d, want %d: transactions were lost", addr(key), nonce, perSender)
		}
	}
}

// executable is one transaction of each of some senders that can be in the next block.
func executable(n *node, parent *types.Block) (txs []*types.Transaction) {
	statedb, err := n.w.stateOf(parent)
	if err != nil {
		return nil
	}
	pending, _ := n.Content()
	for from, list := range pending {
		for _, tx := range list {
			if tx.Nonce() == statedb.GetNonce(from) && len(txs) < 4 {
				txs = append(txs, tx)
			}
		}
	}
	return txs
}
