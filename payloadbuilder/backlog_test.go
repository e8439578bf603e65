// SPDX-License-Identifier: LGPL-3.0-or-later

package payloadbuilder

import (
	"maps"
	"testing"
	"testing/synctest"
	"time"
)

// What is prefetched is what the block would have next: in its order, as much as is worth it, however much waits in the pool.
func TestLeftOut(t *testing.T) {
	c := newTestChain(configs()["osaka"])
	txs := new(listPool)
	for user := range uint64(8) {
		for nonce := range uint64(80) {
			txs.txs = append(txs.txs, transfer(c, 1+int(user), nonce, int64(1+(user*7+nonce*13)%50)))
		}
	}
	whole := newPartialStore(c, true)
	a := attributesOn(c, c.head)
	all, err := newTestBuilder(t, c, txs, on(whole, noFetcher{})).newRoundOn(t, a).fromPool(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	empty := newPartialStore(c, true)
	if _, err := newTestBuilder(t, c, new(listPool), on(empty, noFetcher{})).BuildOnce(t.Context(), a, nil, nil); err != nil {
		t.Fatal(err)
	}
	store := newPartialStore(c, false)
	for hash := range empty.read { // the empty block can be built
		store.local[hash] = true
	}
	r := newTestBuilder(t, c, txs, on(store, noFetcher{})).newRoundOn(t, a)
	if _, err := r.fromPool(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if len(r.added) > 0 || len(r.leftOut) != maxLeftOut || r.missed != 8 {
		t.Errorf("%d added, %d left out, %d missed state", len(r.added), len(r.leftOut), r.missed)
	}
	for i, tx := range all.Block.Transactions()[:maxLeftOut] {
		if r.leftOut[i].Hash() != tx.Hash() {
			t.Fatalf("transaction %d of the block is not the one that is prefetched", i)
		}
	}
	if r.leftOutGas > maxLeftOutBlocks*r.p.header.GasLimit {
		t.Errorf("gas of what was left out: %d", r.leftOutGas)
	}
}

// A block whose root misses nodes is whole as soon as they arrive, without another round.
func TestRootWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestChain(configs()["osaka"])
		txs := new(listPool)
		txs.set(randomTxs(t, c, 5, 60)...)
		all := newPartialStore(c, true)
		a := attributesOn(c, c.head)
		r := newTestBuilder(t, c, txs, on(all, noFetcher{})).newRoundOn(t, a)
		draft, err := r.draft(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer draft.Close()
		if err := r.fill(t.Context(), draft, nil); err != nil {
			t.Fatal(err)
		}
		executed := maps.Clone(all.read)
		whole, err := draft.Seal()
		if err != nil {
			t.Fatal(err)
		}
		waited := 0
		for hash := range all.read {
			if _, read := executed[hash]; read {
				continue
			}
			store := newPartialStore(c, false)
			for other := range all.read {
				store.local[other] = other != hash
			}
			began := time.Now()
			r := newTestBuilder(t, c, txs, on(store, newPeerFetcher(store, 100*time.Millisecond))).newRoundOn(t, a)
			built, err := r.fromPool(t.Context(), nil)
			if err != nil || built.Block.Hash() != whole.Block.Hash() || time.Since(began) != 100*time.Millisecond {
				t.Errorf("without node %x: after %v %v", hash, time.Since(began), err)
			}
			waited++
		}
		if t.Logf("%d of %d nodes and codes are read by the root only", waited, len(all.read)); waited == 0 {
			t.Error("no root missed a node")
		}
	})
}
