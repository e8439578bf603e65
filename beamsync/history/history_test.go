// SPDX-License-Identifier: LGPL-3.0-or-later

package history

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/core/types"

	"github.com/sunbeam-eth/sunbeam/beamsync/fetch"
	"github.com/sunbeam-eth/sunbeam/beamsync/internal/beamtest"
	"github.com/sunbeam-eth/sunbeam/chain"
	"github.com/sunbeam-eth/sunbeam/db"
)

func TestHistoryToGenesis(t *testing.T) {
	inPast(t, pastLength, everything, func(r *pastRig) {
		a, b := newOldPeer("a"), newOldPeer("b")
		r.Join(a)
		r.Join(b)
		began := time.Now()
		r.await(0)
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("took %v", took)
		}
		r.whole(0)
		for _, block := range oldBlocks().blocks {
			want, have := oldBlocks().receipts[block.Hash()], r.chain.Receipts(block.Hash())
			if len(want) != len(have) {
				t.Fatalf("block %d: %d receipts, want %d", block.Number(), len(have), len(want))
			}
			for i := range want {
				if have[i].TxHash != block.Transactions()[i].Hash() || have[i].GasUsed != want[i].GasUsed || have[i].Bloom != want[i].Bloom || len(have[i].Logs) != len(want[i].Logs) {
					t.Fatalf("block %d receipt %d: %+v, want %+v", block.Number(), i, have[i], want[i])
				}
			}
		}
		time.Sleep(time.Hour) // silence, and no requests, from here on
		progress := r.history.Progress()
		if progress.Share != 1 || progress.Remaining != 0 || progress.Blocks != pastLength-1 || progress.WaitsFor != "" {
			t.Errorf("progress %+v", progress)
		}
		if n := strings.Count(r.log.String(), "\n"); n != 1 || !strings.Contains(r.log.String(), "complete") {
			t.Errorf("said:\n%s", r.log)
		}
		if got := r.Blames.All(); len(got) != 0 || a.requests()+b.requests() > 60 {
			t.Errorf("blames %v, requests %d", got, a.requests()+b.requests())
		}
	})
}

func TestHistoryCutoff(t *testing.T) {
	for _, test := range []struct {
		name   string
		cfg    Config
		oldest uint64
		share  float64
	}{
		{"number", Config{Blocks: 100}, pastLength - 99, 1},
		{"more than there are", Config{Blocks: 10_000}, 0, 1},
		{"postmerge", Config{Blocks: math.MaxUint64, TooOld: proofOfWork}, pastMerge, 1},
		{"postmerge, known", Config{Blocks: math.MaxUint64, TooOld: proofOfWork, First: pastMerge}, pastMerge, 1},
		{"one", Config{Blocks: 1}, pastLength, 1},
		{"none", Config{}, pastLength, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			inPast(t, pastLength, test.cfg, func(r *pastRig) {
				p := newOldPeer("a")
				r.Join(p)
				r.await(test.oldest)
				time.Sleep(time.Minute)
				r.whole(test.oldest)
				if progress := r.history.Progress(); progress.Share != test.share || progress.Remaining != 0 {
					t.Errorf("progress %+v", progress)
				}
				if p.deepest() < test.oldest {
					t.Errorf("asked for block %d", p.deepest())
				}
				if test.cfg.Blocks <= 1 && p.requests() > 0 {
					t.Errorf("%d requests for nothing", p.requests())
				}
			})
		})
	}
}

// TestHistoryAfterPivot: the gap of a pivot is filled, and what was held below it is joined,
// not fetched again.
func TestHistoryAfterPivot(t *testing.T) {
	inPast(t, 300, everything, func(r *pastRig) {
		p := newOldPeer("a")
		p.most = 5
		r.slots.Store(1)
		r.Join(p)
		for r.chain.Oldest() > 200 {
			time.Sleep(beamtest.RTT / 2)
		}
		before := r.chain.Oldest()
		r.head(500)
		if before < 100 || r.chain.Oldest() != 500 {
			t.Fatalf("no gap: oldest was %d, is %d", before, r.chain.Oldest())
		}
		r.await(before)
		r.whole(r.chain.Oldest())
		r.head(501)
		r.await(0)
		r.whole(0)
		again := 0
		for number, count := range p.counts {
			if number < 300 && count > 1 {
				again++
			}
		}
		if again > maxBatch { // what was in flight
			t.Errorf("%d blocks were fetched again", again)
		}
		if !strings.Contains(r.log.String(), "Older blocks became reachable") {
			t.Errorf("said:\n%s", r.log)
		}
	})
}

// TestHistoryRestarts ends at random moments and goes on, with pivots between. Nothing is
// claimed that is not there, and little is fetched twice.
func TestHistoryRestarts(t *testing.T) {
	for seed := range uint64(4) {
		rnd := rand.New(rand.NewPCG(seed, 7))
		inPast(t, 100, everything, func(r *pastRig) {
			p := newOldPeer("a")
			p.most = 1 + rnd.IntN(40)
			r.Join(p)
			for head := 100; head < pastLength; {
				time.Sleep(time.Duration(rnd.IntN(3000)) * time.Millisecond)
				r.stop()
				r.open()
				r.whole(r.chain.Oldest())
				if head = min(head+rnd.IntN(100), pastLength); head > int(r.chain.CurrentHeader().Number.Uint64()) {
					r.head(head)
				}
				r.start()
			}
			r.await(0)
			r.whole(0)
		})
	}
}

// failingStore refuses to keep history.
type failingStore struct{ chain.Store }

var errFull = errors.New("no space left on device")

func (s failingStore) Apply(u *chain.Update) error {
	if u.History != nil {
		return errFull
	}
	return s.Store.Apply(u)
}

func TestHistoryEndsWithTheDisk(t *testing.T) {
	synctestHistory(t, func(ctx context.Context, f *fetch.Fetcher) {
		store, err := db.OpenMemory(db.Options{})
		beamtest.Must(err)
		defer store.Close()
		c, err := chain.New(failingStore{store.Chain()}, oldBlocks().genesis)
		beamtest.Must(err)
		block := oldBlocks().at(50)
		beamtest.Must(c.Commit(block, oldBlocks().receipts[block.Hash()]))
		_, err = c.SetHead(block.Hash())
		beamtest.Must(err)
		f.Join(newOldPeer("a"))
		h := New(Config{
			Chain: c, OldChain: f, Blocks: 50, Slots: func() int { return 1 }, Log: slog.New(slog.DiscardHandler),
		})
		if err := h.Run(ctx); !errors.Is(err, errFull) {
			t.Errorf("Run: %v", err)
		}
		if c.Oldest() != 50 {
			t.Errorf("oldest %d", c.Oldest())
		}
	})
}

func proofOfWork(header *types.Header) bool { return header.Difficulty.Sign() > 0 }
