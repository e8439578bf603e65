// SPDX-License-Identifier: LGPL-3.0-or-later

package witness

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/sunbeam-eth/sunbeam/beamsync/internal/beamtest"
	"github.com/sunbeam-eth/sunbeam/beamsync/peer"
	"github.com/sunbeam-eth/sunbeam/evm"
	"github.com/sunbeam-eth/sunbeam/trie"
)

// hintingPeer serves keys after some time, or what a test sets.
type hintingPeer struct {
	id    string
	after time.Duration // of virtual time until it has executed the block
	born  time.Time
	reply func() (rlp.RawValue, error)
	asked int
	mute  bool // never answers
}

// encode is encodeTouched of what fits.
func encode(touched *trie.Touched) rlp.RawValue {
	keys, _ := encodeTouched(touched)
	return keys
}

// readsOf is what a block on an empty state read.
func readsOf(touched *trie.Touched) evm.Reads {
	return evm.Reads{Parent: &types.Header{Number: new(big.Int), Root: types.EmptyRootHash}, Touched: touched}
}

func newHintingPeer(id string, after time.Duration, touched *trie.Touched) *hintingPeer {
	return &hintingPeer{id: id, after: after, born: time.Now(), reply: func() (rlp.RawValue, error) { return encode(touched), nil }}
}

func (p *hintingPeer) ID() string { return p.id }

func (p *hintingPeer) ServesWitnessKeys() bool { return true }

func (p *hintingPeer) WitnessKeys(ctx context.Context, _ common.Hash) (rlp.RawValue, error) {
	p.asked++
	answer := time.After(beamtest.RTT)
	if p.mute {
		answer = nil
	}
	select {
	case <-answer:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if time.Since(p.born) < p.after {
		return nil, nil
	}
	return p.reply()
}

func hintBlock(number int64) *types.Block {
	return types.NewBlockWithHeader(&types.Header{Number: big.NewInt(number), GasUsed: 1_000_000, Difficulty: new(big.Int)})
}

func (w *Exchange) count(result string) float64 {
	return testutil.ToFloat64(w.metrics.hints.WithLabelValues(result))
}

// hinted is a bubble with a node that asks for hints.
type hinted struct {
	*Exchange
	t      *testing.T
	blames *beamtest.Blames
}

func withHints(t *testing.T, test func(h *hinted)) {
	synctest.Test(t, func(t *testing.T) {
		blames := new(beamtest.Blames)
		test(&hinted{New(Config{Store: always(trie.NewCache(1<<20, nil)), Book: peer.NewBook(peer.BookConfig{Blamer: blames})}), t, blames})
	})
}

// hint asks for one and checks what came when.
func (h *hinted) hint(number int64, want bool, took time.Duration) {
	h.t.Helper()
	began := time.Now()
	touched, ok := h.Hint(h.t.Context(), hintBlock(number))
	if ok != want || ok != (touched != nil) || time.Since(began) != took {
		h.t.Errorf("block %d: %v, %v after %v, want %v after %v", number, touched, ok, time.Since(began), want, took)
	}
}

func TestHintTakesWhatComesInTime(t *testing.T) {
	withHints(t, func(h *hinted) {
		h.hint(1, false, 0) // nobody there
		h.Join(newHintingPeer("never", time.Hour, nil))
		h.hint(1, false, hintDeadline)
		h.Join(newHintingPeer("soon", 300*time.Millisecond, touchedAtRandom(1, 20)))
		h.hint(1, true, beamtest.RTT+hintPause+beamtest.RTT) // it had nothing when asked first
		h.hint(1, true, beamtest.RTT)
		h.Leave("soon")
		h.hint(1, false, hintDeadline)
		if h.count(hintNone) != 2 || h.count(hintTaken) != 2 {
			t.Error("not counted")
		}
	})
}

// TestHintsAmongSilentPeers: peers that never have a hint, or never answer, keep a good one out for some blocks only.
func TestHintsAmongSilentPeers(t *testing.T) {
	withHints(t, func(h *hinted) {
		const silent = 24
		for i := range silent {
			h.Join(newHintingPeer(fmt.Sprint("silent ", i), time.Duration(i%2)*100*time.Hour, nil))
			h.peers[i].Peer.(*hintingPeer).mute = i%2 == 0
		}
		h.Join(newHintingPeer("good", 0, touchedAtRandom(1, 20)))
		found := 0
		for number := range int64(100) {
			if _, ok := h.Hint(h.t.Context(), hintBlock(number)); ok {
				found++
			}
		}
		if missed := 100 - found; missed > maxSilent*silent/maxHintPeers {
			t.Errorf("%d blocks without a hint", missed)
		}
	})
}

// TestHintsAreRated by what blocks read: who names other keys is not asked again, who
// names the right ones is asked first.
func TestHintsAreRated(t *testing.T) {
	read := touchedAtRandom(1, 20)
	other := &trie.Touched{Accounts: append(slices.Clone(read.Accounts[:3]), touchedAtRandom(2, 100).Accounts[30:]...)}
	withHints(t, func(h *hinted) {
		wrong := newHintingPeer("wrong", 0, other)
		h.Join(wrong)
		h.hint(1, true, beamtest.RTT)
		h.Record(hintBlock(1).Hash(), readsOf(read))
		h.hint(2, false, 0)
		idle := []*hintingPeer{newHintingPeer("a", time.Hour, nil), newHintingPeer("b", time.Hour, nil), newHintingPeer("c", time.Hour, nil)}
		for i, p := range []*hintingPeer{idle[0], newHintingPeer("right", 0, read), idle[1], idle[2]} {
			h.Join(p)
			if i == 1 {
				h.hint(2, true, beamtest.RTT)
				h.Record(hintBlock(2).Hash(), readsOf(read))
			}
		}
		h.hint(3, true, beamtest.RTT)
		h.Record(hintBlock(3).Hash(), readsOf(read))
		h.Record(hintBlock(3).Hash(), readsOf(read)) // executed again: rated once
		if h.peers[0].ID() != "right" || idle[2].asked > 0 || wrong.asked != 1 {
			t.Errorf("%s comes first, the fifth peer was asked %d times, the wrong one %d times", h.peers[0].ID(), idle[2].asked, wrong.asked)
		}
		if h.count(hintWrong) != 1 || h.count(hintUseful) != 2 {
			t.Error("not counted")
		}
		if got := h.blames.All(); !slices.Equal(got, []string{"wrong:useless"}) {
			t.Error("blames", got)
		}
	})
}

// TestImpossibleHints: keys that no block can read are not taken, and malformed lists are invalid data.
func TestImpossibleHints(t *testing.T) {
	withHints(t, func(h *hinted) {
		malformed, large, broken := newHintingPeer("malformed", 0, nil), newHintingPeer("large", 0, touchedAtRandom(1, 2000)), newHintingPeer("broken", 0, nil)
		malformed.reply = func() (rlp.RawValue, error) { return []byte{0xc1, 0xc0}, nil }
		broken.reply = func() (rlp.RawValue, error) { return nil, errors.New("broken") }
		for _, p := range []*hintingPeer{malformed, large, broken} {
			h.Join(p)
		}
		h.hint(1, false, beamtest.RTT)
		h.Join(newHintingPeer("right", 0, touchedAtRandom(1, 20)))
		h.hint(2, true, beamtest.RTT)
		if malformed.asked != 1 || large.asked != 1 || h.count(hintInvalid) != 2 {
			t.Error("asked again")
		}
		got := h.blames.All()
		slices.Sort(got)
		if !slices.Equal(got, []string{"large:invalid", "malformed:invalid"}) {
			t.Error("blames", got)
		}
	})
}

// TestBannedPeerIsNotAskedForHints: whoever banned it, and also after a reconnect. A peer that gave a
// wrong hint is not asked after a reconnect either.
func TestBannedPeerIsNotAskedForHints(t *testing.T) {
	read := touchedAtRandom(1, 20)
	other := &trie.Touched{Accounts: append(slices.Clone(read.Accounts[:3]), touchedAtRandom(2, 100).Accounts[30:]...)}
	withHints(t, func(h *hinted) {
		banned, wrong := newHintingPeer("banned", 0, read), newHintingPeer("wrong", 0, other)
		h.Join(banned)
		h.hint(1, true, beamtest.RTT)
		h.cfg.Book.Blame("banned", peer.BlameInvalid, "an invalid range")
		h.hint(2, false, 0)
		h.Join(banned)
		h.hint(3, false, 0)

		h.Join(wrong)
		h.hint(4, true, beamtest.RTT)
		h.Record(hintBlock(4).Hash(), readsOf(read))
		h.Leave("wrong")
		h.Join(wrong)
		h.hint(5, false, 0)
		if banned.asked != 1 || wrong.asked != 1 || h.cfg.Book.Banned("wrong") {
			t.Errorf("the banned peer was asked %d times, the one with the wrong hint %d times", banned.asked, wrong.asked)
		}
		time.Sleep(peer.BanTime)
		h.Join(banned)
		h.hint(6, true, beamtest.RTT)
	})
}

func TestHintEndsWithContext(t *testing.T) {
	withHints(t, func(h *hinted) {
		h.Join(newHintingPeer("never", time.Hour, nil))
		ctx, cancel := context.WithTimeout(h.t.Context(), 50*time.Millisecond)
		defer cancel()
		began := time.Now()
		ok, err := h.Collect(ctx, hintBlock(1), common.Hash{}, nil)
		if ok || !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 50*time.Millisecond {
			t.Error(ok, err, time.Since(began))
		}
	})
}

// TestWitnessesAreBounded: the newest blocks are kept.
func TestWitnessesAreBounded(t *testing.T) {
	w := New(Config{Store: always(trie.NewCache(1<<20, nil))})
	touched := touchedAtRandom(1, 20)
	hash := func(i int) common.Hash { return common.BigToHash(big.NewInt(int64(i))) }
	for i := range maxBlocks + 3 {
		w.Record(hash(i), readsOf(touched))
	}
	if w.blocks.Len() != maxBlocks {
		t.Errorf("%d blocks", w.blocks.Len())
	}
	if w.WitnessKeys(hash(2)) != nil || w.WitnessHashes(hash(2)) != nil {
		t.Error("an old block is kept")
	}
	if keys := w.WitnessKeys(hash(3)); string(keys) != string(encode(touched)) {
		t.Errorf("%x", keys)
	}
}

// always is the store of all states.
func always(store trie.Store) func(common.Hash) trie.Store {
	return func(common.Hash) trie.Store { return store }
}
