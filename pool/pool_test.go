// SPDX-License-Identifier: LGPL-3.0-or-later

package pool

import (
	"context"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/txpool"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/params"

	"github.com/sunbeam-eth/sunbeam/internal/testchain"
)

// TestSend: what users send is judged by the state of the head, which is fetched.
func TestSend(t *testing.T) {
	n := startPool(t, newChainWorld(t))
	tx := plain(keys[0], 0)
	tooMuch := func(tx *types.DynamicFeeTx) { tx.Value = new(big.Int).Mul(big.NewInt(2000), big.NewInt(params.Ether)) }
	noTip := func(tx *types.DynamicFeeTx) { tx.GasTipCap = new(big.Int) }
	for _, test := range []struct {
		name string
		tx   *types.Transaction
		err  error
	}{
		{"good", tx, nil},
		{"again", tx, txpool.ErrAlreadyKnown},
		{"next", plain(keys[0], 1), nil},
		{"waits for others", plain(keys[0], 5), nil},
		{"replaces for too little", plain(keys[0], 0, func(tx *types.DynamicFeeTx) { tx.Value = big.NewInt(2) }), txpool.ErrReplaceUnderpriced},
		{"too expensive", plain(keys[1], 0, tooMuch), core.ErrInsufficientFunds},
		{"nothing there", plain(poorKey, 0), core.ErrInsufficientFunds},
		{"no tip", plain(keys[1], 0, noTip), txpool.ErrTxGasPriceTooLow},
		{"with blobs", blobTx(keys[2], 0), nil},
		{"plain and with blobs", plain(keys[2], 1), txpool.ErrAlreadyReserved},
	} {
		n.settle() // a blob pool opens in its own time
		if err := n.send(test.tx); !errors.Is(err, test.err) {
			t.Errorf("%s: %v, want %v", test.name, err, test.err)
		}
	}
	if pending, queued := n.Stats(); pending != 3 || queued != 1 {
		t.Errorf("%d pending, %d queued", pending, queued)
	}
	if nonce := n.nonce(t, addr(keys[0])); nonce != 2 {
		t.Errorf("next nonce %d", nonce)
	}
	if nonce := n.nonce(t, addr(keys[2])); nonce != 1 {
		t.Errorf("next nonce with blobs %d", nonce)
	}
	if nonce := n.nonce(t, addr(keys[3])); nonce != 0 {
		t.Errorf("next nonce of a stranger %d", nonce)
	}
	if got := n.Get(tx.Hash()); got == nil || !n.Has(tx.Hash()) || len(n.Encoded(tx.Hash(), 71)) == 0 {
		t.Errorf("not there: %v", got)
	}
	if pending, queued := n.ContentFrom(addr(keys[0])); len(pending) != 2 || len(queued) != 1 {
		t.Errorf("content: %v, %v", pending, queued)
	}
}

// TestNotReady: a node that is not at the head knows nothing to judge by.
func TestNotReady(t *testing.T) {
	far := errors.New("far from the head")
	n := startPool(t, newChainWorld(t), func(c *Config) { c.Ready = func() error { return far } })
	if err := n.send(plain(keys[0], 0)); !errors.Is(err, ErrNotReady) || !errors.Is(err, far) {
		t.Errorf("send: %v", err)
	}
	if _, err := n.Nonce(t.Context(), addr(keys[0])); !errors.Is(err, ErrNotReady) {
		t.Errorf("nonce: %v", err)
	}
	if pending, queued := n.Stats(); pending+queued != 0 {
		t.Error("it is not empty")
	}
}

// TestEveryFailedFetch fails the k-th fetch, for every k: the answer about a transaction is
// true, or that it cannot be known. A missing node is never an empty account.
func TestEveryFailedFetch(t *testing.T) {
	w := newChainWorld(t)
	for _, test := range []struct {
		name string
		tx   *types.Transaction
		err  error
	}{
		{"rich", plain(keys[0], 0), nil},
		{"rich, later", plain(keys[0], 3), nil},
		{"poor", plain(poorKey, 0), core.ErrInsufficientFunds},
		{"no account", plain(testchain.Key(20), 0), core.ErrInsufficientFunds},
		{"blobs", blobTx(keys[1], 0), nil},
	} {
		failures := 0
		for k := 1; ; k++ {
			n := startPool(t, w)
			n.settle()
			n.net.set(k, nil)
			err := n.send(test.tx)
			if errors.Is(err, ErrUnavailable) {
				failures++
				if !errors.Is(err, errInjected) || n.Has(test.tx.Hash()) {
					t.Fatalf("%s, fetch %d failed: %v, pooled %v", test.name, k, err, n.Has(test.tx.Hash()))
				}
				err = n.send(test.tx) // the failure is over
			}
			if !errors.Is(err, test.err) || err != nil && test.err == nil {
				t.Fatalf("%s, fetch %d failed: %v, want %v", test.name, k, err, test.err)
			}
			nonce, err := n.Nonce(t.Context(), addr(keys[7]))
			if err == nil && nonce != 0 || err != nil && !errors.Is(err, ErrUnavailable) {
				t.Fatalf("%s, fetch %d failed: nonce %d, %v", test.name, k, nonce, err)
			}
			done := n.net.count() < k
			n.stop()
			if done {
				break
			}
		}
		if failures == 0 {
			t.Errorf("%s: no fetch failed", test.name)
		}
	}
}

// TestNoLockAcrossFetch: while one account is waited for, everything else goes on.
func TestNoLockAcrossFetch(t *testing.T) {
	w := newChainWorld(t)
	n := startPool(t, w)
	n.settle()
	if err := n.send(plain(keys[0], 0)); err != nil {
		t.Fatal(err)
	}
	hold := make(chan struct{})
	n.net.set(0, hold)
	waiting := make(chan error, 1)
	go func() { waiting <- n.send(plain(keys[1], 0)) }()
	eventually(t, "the account is asked for", func() bool { return n.net.count() > 0 })

	if err := n.send(plain(keys[0], 1)); err != nil { // its sender is known
		t.Errorf("a known sender: %v", err)
	}
	if pending, _ := n.Stats(); pending != 2 {
		t.Errorf("%d pending", pending)
	}
	n.Content()
	w.extend() // whose head event must not wait either, although the pool's accounts are not to be had
	select {
	case err := <-waiting:
		t.Fatalf("it did not wait: %v", err)
	default:
	}
	close(hold)
	if err := <-waiting; err != nil {
		t.Errorf("after waiting: %v", err)
	}
	n.settle()
	if nonce := n.nonce(t, addr(keys[1])); nonce != 1 {
		t.Errorf("nonce %d", nonce)
	}
}

// TestUnavailableInTime: a user gets the error that the state is unavailable before the deadline.
func TestUnavailableInTime(t *testing.T) {
	n := startPool(t, newChainWorld(t))
	n.settle()
	n.net.set(0, make(chan struct{}))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	err := n.Send(ctx, plain(poorKey, 0))
	if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "state unavailable, try again") {
		t.Errorf("got %v", err)
	}
}

// TestBlobsSurvive: blob transactions on disk are there again after a restart, whatever happens to
// reads of their senders' accounts while the pool opens.
func TestBlobsSurvive(t *testing.T) {
	w := newChainWorld(t)
	dir := filepath.Join(t.TempDir(), "blobpool")
	at := func(c *Config) { c.BlobDir = dir }
	tx := blobTx(keys[0], 0)
	n := startPool(t, w, at)
	n.settle()
	if err := n.send(tx); err != nil {
		t.Fatal(err)
	}
	n.stop()

	n = startPool(t, w, at) // stopped while it waits for the sender's account
	n.net.set(0, make(chan struct{}))
	n.wakeUp()
	eventually(t, "the account is asked for", func() bool { return n.net.count() > 0 })
	if err := n.send(blobTx(keys[1], 0)); !errors.Is(err, ErrUnavailable) {
		t.Errorf("while it opens: %v", err)
	}
	n.stop()

	n = startPool(t, w, at) // the first reads fail
	n.net.set(1, nil)
	n.settle()
	if !n.Has(tx.Hash()) {
		t.Fatal("it was dropped")
	}
	if nonce := n.nonce(t, addr(keys[0])); nonce != 1 {
		t.Errorf("nonce %d", nonce)
	}
	w.extend(tx) // it is not in the pool any more, and stays away after a restart
	n.settle()
	if n.Has(tx.Hash()) {
		t.Error("it is still there after it was included")
	}
	n.stop()
	n = startPool(t, w, at)
	n.settle()
	if n.Has(tx.Hash()) {
		t.Error("it came back")
	}
}

// TestBadBlobDir: what is wrong with the directory is an error of Run that names it.
func TestBadBlobDir(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	w := newChainWorld(t)
	p := New(Config{Chain: w, Users: newNetwork(w), Peers: newNetwork(w), Ready: func() error { return nil }, BlobDir: file})
	p.wakeUp()
	if err := p.Run(t.Context()); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("got %v", err)
	}
}

// TestFollowing: the pool moves with the head; what was included leaves, what was dropped comes back,
// and only missing nodes are fetched for it.
func TestFollowing(t *testing.T) {
	w := newChainWorld(t)
	n := startPool(t, w)
	n.net.keep = true
	n.settle()
	txs := []*types.Transaction{plain(keys[0], 0), plain(keys[0], 1), plain(keys[1], 0), blobTx(keys[2], 0)}
	for _, tx := range txs {
		if err := n.send(tx); err != nil {
			t.Fatal(err)
		}
	}
	n.net.set(0, nil)
	fork := w.current()
	block := w.build(fork, 1, txs[0], plain(keys[5], 0), txs[3])
	n.net.execute(fork, block)
	w.setHead(block)
	n.settle()
	if n.net.count() != 0 {
		t.Errorf("%d nodes fetched to follow a block that was executed", n.net.count())
	}
	there := func(want ...bool) {
		t.Helper()
		for i, tx := range txs {
			if n.Has(tx.Hash()) != want[i] {
				t.Errorf("transaction %d in the pool: %v", i, !want[i])
			}
		}
	}
	there(false, true, true, false)
	if nonce := n.nonce(t, addr(keys[0])); nonce != 2 {
		t.Errorf("nonce %d", nonce)
	}
	other := w.build(fork, 2) // a reorg: all come back, the blobs from where they were kept
	n.net.execute(fork, other)
	w.setHead(other)
	n.settle()
	there(true, true, true, true)
	if !n.Has(plain(keys[5], 0).Hash()) {
		t.Error("a dropped transaction that was never in the pool is not there")
	}
	if at := n.at.Load(); at.accounts.missed.Load() {
		t.Error("an account was looked up that was not read")
	}
}

// TestJump: after a pivot the blocks between are not stored; the pool is on the new head with
// what is still good.
func TestJump(t *testing.T) {
	w := newChainWorld(t)
	n := startPool(t, w, func(c *Config) { c.BlobDir = t.TempDir() })
	n.settle()
	txs := []*types.Transaction{plain(keys[0], 0), plain(keys[1], 0), blobTx(keys[2], 0), blobTx(keys[3], 0)}
	for _, tx := range txs {
		if err := n.send(tx); err != nil {
			t.Fatal(err)
		}
	}
	between := w.build(w.current(), 1, txs[0], txs[2])
	w.setHeadUnheld(w.build(between, 1))
	n.settle()
	for i, want := range []bool{false, true, false, true} {
		if n.Has(txs[i].Hash()) != want {
			t.Errorf("transaction %d in the pool: %v", i, !want)
		}
	}
	for i, nonce := range []uint64{1, 1, 1, 1} {
		if got := n.nonce(t, addr(keys[i])); got != nonce {
			t.Errorf("nonce %d: %d", i, got)
		}
	}
	if err := n.send(plain(keys[2], 1)); err != nil { // its account is gone
		t.Errorf("a plain transaction where blobs were: %v", err)
	}
}

// TestStaysBehind: when the accounts of its senders cannot be read under a new head, the pool stays
// on the old one and forgets nothing.
func TestStaysBehind(t *testing.T) {
	w := newChainWorld(t)
	n := startPool(t, w)
	n.settle()
	tx := plain(keys[0], 0)
	if err := n.send(tx); err != nil {
		t.Fatal(err)
	}
	old := n.at.Load().head.Hash()
	n.net.set(-1, nil)
	w.extend()
	eventually(t, "it tried", func() bool { return n.net.count() > 0 })
	time.Sleep(10 * time.Millisecond)
	if !n.Has(tx.Hash()) || n.at.Load().head.Hash() != old {
		t.Error("it moved, or forgot")
	}
	n.net.set(0, nil)
	w.extend()
	n.settle()
	if !n.Has(tx.Hash()) {
		t.Error("it forgot")
	}
}

// TestGapped: a blob transaction that waits for another keeps its sender's account in the account cache.
func TestGapped(t *testing.T) {
	w := newChainWorld(t)
	n := startPool(t, w)
	n.settle()
	for nonce := range uint64(10) { // it may wait for one, once it has ten
		w.extend(plain(keys[0], nonce))
	}
	n.settle()
	late, early := blobTx(keys[0], 11), blobTx(keys[0], 10)
	if err := n.send(late); err != nil {
		t.Fatal(err)
	}
	w.extend()
	n.settle()
	if n.at.Load().accounts.missed.Load() {
		t.Error("its sender was forgotten")
	}
	if err := n.send(early); err != nil {
		t.Fatal(err)
	}
	if nonce := n.nonce(t, addr(keys[0])); nonce != 12 {
		t.Errorf("nonce %d", nonce)
	}
}

// TestUnreadAccount: if a pool reads an account that is not in the cache, its decision does not count, and
// it looks again.
func TestUnreadAccount(t *testing.T) {
	n := startPool(t, newChainWorld(t))
	n.settle()
	at := n.at.Load()
	statedb, err := at.accounts.state()
	if err != nil {
		t.Fatal(err)
	}
	if statedb.GetNonce(common.Address{1}) != 0 || !at.accounts.missed.Load() {
		t.Fatal("no miss")
	}
	if err := n.send(plain(keys[0], 0)); err != nil && !errors.Is(err, ErrUnavailable) {
		t.Errorf("got %v", err)
	}
	n.wakeUp()
	eventually(t, "it looked again", func() bool { return n.at.Load() != at })
	if err := n.send(plain(keys[1], 0)); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}
