// SPDX-License-Identifier: LGPL-3.0-or-later

package pool

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/ethereum/go-ethereum/core/types"
)

// TestLocalsSurvive: what users sent is in the pool again after a restart, until it is mined.
func TestLocalsSurvive(t *testing.T) {
	w := newChainWorld(t)
	journal := filepath.Join(t.TempDir(), "transactions.rlp")
	with := func(c *Config) { c.Locals.Journal = journal }
	txs := []*types.Transaction{plain(keys[0], 0), plain(keys[0], 1), plain(keys[1], 5), plain(keys[2], 0)}
	n := startPool(t, w, with)
	n.settle()
	for _, tx := range txs {
		if err := n.send(tx); err != nil {
			t.Fatal(err)
		}
	}
	n.stop()

	n = startPool(t, w, with)
	eventually(t, "all transactions are back", func() bool {
		pending, queued := n.Stats()
		return pending == 3 && queued == 1
	})
	n.stop()

	content, err := os.ReadFile(journal)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(journal, content[:len(content)-3], 0o600); err != nil { // the last one is torn
		t.Fatal(err)
	}
	w.setHead(w.build(w.current(), 0, txs[0], txs[3]))
	n = startPool(t, w, with)
	n.settle()
	eventually(t, "mined ones are forgotten", func() bool { return len(n.locals.all()) <= 2 && len(n.locals.all()) > 0 })
	for _, tx := range n.locals.all() {
		if tx.Hash() == txs[0].Hash() || tx.Hash() == txs[3].Hash() {
			t.Error("a mined transaction is kept")
		}
	}
}

// TestLocalsReplaced: of two transactions with one nonce the newer is kept.
func TestLocalsReplaced(t *testing.T) {
	n := startPool(t, newChainWorld(t))
	n.settle()
	dearer := plain(keys[0], 0, func(tx *types.DynamicFeeTx) {
		tx.GasTipCap.Lsh(tx.GasTipCap, 1)
		tx.GasFeeCap.Lsh(tx.GasFeeCap, 1)
	})
	for _, tx := range []*types.Transaction{plain(keys[0], 0), dearer} {
		if err := n.send(tx); err != nil {
			t.Fatal(err)
		}
	}
	if kept := n.locals.all(); len(kept) != 1 || kept[0].Hash() != dearer.Hash() {
		t.Errorf("kept %d transactions", len(kept))
	}
}

// TestNoLocals: without locals nothing is written.
func TestNoLocals(t *testing.T) {
	journal := filepath.Join(t.TempDir(), "transactions.rlp")
	n := startPool(t, newChainWorld(t), func(c *Config) { c.Locals = Locals{Disabled: true, Journal: journal} })
	n.settle()
	if err := n.send(plain(keys[0], 0)); err != nil {
		t.Fatal(err)
	}
	n.stop()
	if _, err := os.Stat(journal); !os.IsNotExist(err) {
		t.Errorf("journal: %v", err)
	}
}

// TestFirstBlob: the first blob transaction after a start waits for the blob pool and is accepted.
func TestFirstBlob(t *testing.T) {
	n := startPool(t, newChainWorld(t), func(c *Config) { c.BlobDir = t.TempDir() })
	if err := n.send(blobTx(keys[0], 0)); err != nil {
		t.Error(err)
	}
}

// TestPendingFeed: transactions are announced when they become executable.
func TestPendingFeed(t *testing.T) {
	n := startPool(t, newChainWorld(t))
	n.settle()
	ch := make(chan []*types.Transaction, 8)
	sub := n.SubscribePending(ch)
	defer sub.Unsubscribe()
	for _, nonce := range []uint64{1, 0} {
		if err := n.send(plain(keys[0], nonce)); err != nil {
			t.Fatal(err)
		}
	}
	for got := 0; got < 2; {
		got += len(<-ch)
	}
}
