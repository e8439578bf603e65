package witness

import (
	"context"
	"errors"
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
	"github.com/sunbeam-eth/sunbeam/trie"
)

// tellingPeer tells keys after some time, or what it is made to.
type tellingPeer struct {
	id    string
	after time.Duration // of virtual time until it has executed the block
	born  time.Time
	tell  func() (rlp.RawValue, error)
	asked int
}

func newTellingPeer(id string, after time.Duration, touched *trie.Touched) *tellingPeer {
	return &tellingPeer{id: id, after: after, born: time.Now(), tell: func() (rlp.RawValue, error) { return encodeTouched(touched), nil }}
}

func (p *tellingPeer) ID() string { return p.id }

func (p *tellingPeer) ServesWitnessKeys() bool { return true }

func (p *tellingPeer) WitnessKeys(ctx context.Context, _ common.Hash) (rlp.RawValue, error) {
	p.asked++
	select {
	case <-time.After(beamtest.RTT):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if time.Since(p.born) < p.after {
		return nil, nil
	}
	return p.tell()
}

func hintBlock(number int64) *types.Block {
	return types.NewBlockWithHeader(&types.Header{Number: big.NewInt(number), GasUsed: 1_000_000, Difficulty: new(big.Int)})
}

func (w *Witnesses) count(result string) float64 {
	return testutil.ToFloat64(w.metrics.hints.WithLabelValues(result))
}

// hinted is a bubble with a node that asks for hints.
type hinted struct {
	*Witnesses
	t      *testing.T
	blames *beamtest.Blames
}

func withHints(t *testing.T, test func(h *hinted)) {
	synctest.Test(t, func(t *testing.T) {
		blames := new(beamtest.Blames)
		test(&hinted{New(Config{Store: always(trie.NewCache(1<<20, nil)), Blamer: blames}), t, blames})
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
		h.Join(newTellingPeer("never", time.Hour, nil))
		h.hint(1, false, hintDeadline)
		h.Join(newTellingPeer("soon", 300*time.Millisecond, touchedAtRandom(1, 20)))
		h.hint(1, true, beamtest.RTT+hintPause+beamtest.RTT) // it had nothing when asked first
		h.hint(1, true, beamtest.RTT)
		h.Leave("soon")
		h.hint(1, false, hintDeadline)
		if h.count(hintNone) != 2 || h.count(hintTaken) != 2 {
			t.Error("not counted")
		}
	})
}

// TestHintsAreJudged by what blocks read: who names other keys is not asked again, who
// names the right ones is asked first.
func TestHintsAreJudged(t *testing.T) {
	read := touchedAtRandom(1, 20)
	other := &trie.Touched{Accounts: append(slices.Clone(read.Accounts[:3]), touchedAtRandom(2, 100).Accounts[30:]...)}
	withHints(t, func(h *hinted) {
		wrong := newTellingPeer("wrong", 0, other)
		h.Join(wrong)
		h.hint(1, true, beamtest.RTT)
		h.Record(hintBlock(1).Hash(), types.EmptyRootHash, read)
		h.hint(2, false, 0)
		idle := []*tellingPeer{newTellingPeer("a", time.Hour, nil), newTellingPeer("b", time.Hour, nil), newTellingPeer("c", time.Hour, nil)}
		for i, p := range []*tellingPeer{idle[0], newTellingPeer("right", 0, read), idle[1], idle[2]} {
			h.Join(p)
			if i == 1 {
				h.hint(2, true, beamtest.RTT)
				h.Record(hintBlock(2).Hash(), types.EmptyRootHash, read)
			}
		}
		h.hint(3, true, beamtest.RTT)
		h.Record(hintBlock(3).Hash(), types.EmptyRootHash, read)
		h.Record(hintBlock(3).Hash(), types.EmptyRootHash, read) // executed again: judged once
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

// TestImpossibleHints: what cannot be true is not taken, and malformed lists are lies.
func TestImpossibleHints(t *testing.T) {
	withHints(t, func(h *hinted) {
		malformed, large, broken := newTellingPeer("malformed", 0, nil), newTellingPeer("large", 0, touchedAtRandom(1, 2000)), newTellingPeer("broken", 0, nil)
		malformed.tell = func() (rlp.RawValue, error) { return []byte{0xc1, 0xc0}, nil }
		broken.tell = func() (rlp.RawValue, error) { return nil, errors.New("broken") }
		for _, p := range []*tellingPeer{malformed, large, broken} {
			h.Join(p)
		}
		h.hint(1, false, beamtest.RTT)
		h.Join(newTellingPeer("right", 0, touchedAtRandom(1, 20)))
		h.hint(2, true, beamtest.RTT)
		if malformed.asked != 1 || large.asked != 1 || h.count(hintBroken) != 2 {
			t.Error("asked again")
		}
		got := h.blames.All()
		slices.Sort(got)
		if !slices.Equal(got, []string{"large:lie", "malformed:lie"}) {
			t.Error("blames", got)
		}
	})
}

func TestHintEndsWithContext(t *testing.T) {
	withHints(t, func(h *hinted) {
		h.Join(newTellingPeer("never", time.Hour, nil))
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
	for i := range witnessBlocks + 3 {
		w.Record(hash(i), types.EmptyRootHash, touched)
	}
	if w.blocks.Len() != witnessBlocks {
		t.Errorf("%d blocks", w.blocks.Len())
	}
	if w.WitnessKeys(hash(2)) != nil || w.WitnessHashes(hash(2)) != nil {
		t.Error("an old block is kept")
	}
	if keys := w.WitnessKeys(hash(3)); string(keys) != string(encodeTouched(touched)) {
		t.Errorf("%x", keys)
	}
}

// always is the store of all states.
func always(store trie.Store) func(common.Hash) trie.Store {
	return func(common.Hash) trie.Store { return store }
}
