// SPDX-License-Identifier: LGPL-3.0-or-later

package importer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"

	"github.com/sunbeam-eth/sunbeam/chain"
	"github.com/sunbeam-eth/sunbeam/trie"
)

// lateAnswers is how long requests may last that were made before all peers answered at once.
const lateAnswers = 10 * time.Second

// TestRandomTrees sends random blocks in random order to an importer whose peers are bad, and compares all answers with a model.
// RANDOM_TREES=10-20 in the environment asks for these seeds. What runs at the same moment of virtual time is in no order, so a
// seed may need some tries.
func TestRandomTrees(t *testing.T) {
	first, last := uint64(1), uint64(400)
	if testing.Short() {
		last = 10
	}
	if seeds := os.Getenv("RANDOM_TREES"); seeds != "" {
		if _, err := fmt.Sscanf(seeds, "%d-%d", &first, &last); err != nil {
			t.Fatal(err)
		}
	}
	for seed := first; seed <= last; seed++ {
		if !t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) { testRandomTree(t, seed) }) {
			return
		}
	}
}

func testRandomTree(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 0))
	maxLag, longer := 3+rng.IntN(8), 0
	hang := rng.IntN(2) == 0 // states that no peer has are requested until the block is superseded
	if hang {
		longer = maxLag + 1
	}
	tree := newRandomTree(rng, longer)
	n := &network{genesis: tree.genesis, states: tree.states}
	for hash := range tree.bad {
		if hang {
			n.gone = append(n.gone, tree.library[hash].Root())
		}
	}
	if hang { // the states that there are can be had
		n.gone = slices.DeleteFunc(n.gone, func(root common.Hash) bool {
			blob, _ := tree.states.Node(common.Hash{}, nil, root)
			return blob != nil
		})
	}
	mode := rng.IntN(3) // beaming, full, switched to full
	library := newLibrary(nil)
	library.blocks = tree.library
	peers := &randomPeers{reticent: reticent{library}, network: n, rng: rand.New(rand.NewPCG(seed, 1))}
	m := &randomModel{
		randomTree: tree, t: t, beams: mode == 0, maxLag: maxLag,
		said: make(map[common.Hash]time.Time), asked: make(map[common.Hash]int), begun: make(map[common.Hash]bool), fetched: make(map[common.Hash]fetched),
	}
	peers.served = m.served
	keep := []int{3, 12, 128}[rng.IntN(3)]
	inBubbleOn(t, n, uint64(maxLag), func(f *fixture) {
		m.noise(f, peers, rng, mode, keep)
	}, func(cfg *Config) {
		m.chain, m.start = cfg.Chain, time.Now()
		cfg.Log, cfg.Blocks = slog.New(m), peers
		local := cfg.Local
		cfg.Session = func() StateSession { return randomSession{networkSession{n, local}, peers} }
		if mode == 1 {
			cfg.States = &newestStates{states: tree.states, keep: keep, roots: []common.Hash{cfg.Chain.Genesis().Root()}}
		}
	})
	if testing.Verbose() {
		t.Logf("mode %d: %d blocks called bad, %d excused, the head %v later than on a fresh node", mode, len(m.said), m.excused, m.slowest)
	}
	if t.Failed() {
		t.Logf("seed %d, mode %d, max lag %d, keep %d, hang %v; n/b is block n of branch b, ! is bad, ? is on top of that", seed, mode, maxLag, keep, hang)
		for _, line := range m.history[max(0, len(m.history)-200):] {
			t.Log(line)
		}
	}
}

// noise is the test of one tree.
func (m *randomModel) noise(f *fixture, peers *randomPeers, rng *rand.Rand, mode, keep int) {
	ctx, cancel := context.WithCancel(f.t.Context())
	var background, callers sync.WaitGroup
	background.Go(func() { m.changeModes(ctx, f, mode, keep) })
	for range 3 {
		own := rand.New(rand.NewPCG(rng.Uint64(), 0))
		callers.Go(func() { m.call(f, own) })
	}
	outages := rand.New(rand.NewPCG(rng.Uint64(), 0))
	quiet := make(chan struct{})
	background.Go(func() {
		for mute := false; ; mute = !mute {
			f.set(10*time.Millisecond, mute)
			select {
			case <-time.After(time.Duration(outages.Int64N(int64(20 * time.Second)))):
			case <-quiet:
				f.set(10*time.Millisecond, false)
				return
			}
		}
	})
	orphans := rand.New(rand.NewPCG(rng.Uint64(), 0))
	callers.Go(func() { m.sendOrphans(f, orphans) })
	callers.Wait()
	close(quiet)
	peers.mu.Lock()
	peers.rng = nil
	peers.mu.Unlock()

	path := m.paths[0]
	if len(path) == len(m.paths[1]) || len(path) == 40 {
		path = m.paths[rng.IntN(m.good)]
	}
	for _, head := range path[len(path)-1-rng.IntN(2):] {
		m.reach(f, peers, head)
	}
	cancel()
	background.Wait()
	if err := f.chain.Check(); err != nil {
		m.fail("chain: %v", err)
	}
}

// reach makes a good block the head. Its ancestors and states can be had from peers, so whatever happened before, that
// takes no longer than on a fresh node, but for the requests that were late already.
func (m *randomModel) reach(f *fixture, peers *randomPeers, head *types.Block) {
	fresh, stop := f.network.start(f.t, uint64(m.maxLag), func(cfg *Config) {
		cfg.Blocks = reticent{peers.library}
		local := cfg.Local
		cfg.Session = func() StateSession { return randomSession{networkSession{f.network, local}, peers} }
	})
	began := time.Now()
	fresh.want("on a fresh node", fresh.payload(head, time.Minute), Valid)
	limit := time.Since(began) + lateAnswers
	stop()
	began = time.Now()
	for f.chain.CurrentHeader().Hash() != head.Hash() {
		if took := time.Since(began); took > limit {
			m.fail("%s is not the head after %v, pending: %+v", m.name[head.Hash()], took, f.importer.Status().Pending)
			break
		}
		m.answer("payload", head.Hash(), f.payload(head, 5*time.Second), nil)
		outcome, err := f.choose(head.Hash(), common.Hash{}, common.Hash{}, 5*time.Second)
		m.answer("head", head.Hash(), outcome, err)
	}
	m.slowest = max(m.slowest, time.Since(began)-limit+lateAnswers)
}

// sendOrphans sends payloads whose parents no peer has, more than there may be jobs, and some on top of them.
func (m *randomModel) sendOrphans(f *fixture, rng *rand.Rand) {
	for count := rng.IntN(2 * maxJobs); count > 0; count-- {
		orphan := f.orphanOn(m.paths[0][0], rng, 1+rng.Uint64N(300))
		for range 1 + rng.IntN(2) {
			if outcome := f.payload(orphan, time.Duration(rng.Int64N(int64(time.Second)))); outcome.Status == Valid {
				m.fail("an orphan is called good")
			}
			orphan = f.childOf(orphan)
		}
	}
}

// call is one caller of the engine: it goes along a branch, more or less, and changes to others.
func (m *randomModel) call(f *fixture, rng *rand.Rand) {
	path, at := m.paths[rng.IntN(len(m.paths))], 0
	for range 40 {
		switch rng.IntN(12) {
		case 0:
			path = m.paths[rng.IntN(len(m.paths))]
		case 1:
			at = rng.IntN(len(path))
		default:
			at += rng.IntN(6) - 1
		}
		at = max(0, min(at, len(path)-1))
		block, timeout, times := path[at], time.Duration(rng.Int64N(int64(8*time.Second))), 1
		if rng.IntN(100) == 0 {
			times = 2 * 128
		}
		for range times {
			if rng.IntN(2) == 0 {
				m.answer("payload", block.Hash(), f.payload(block, timeout), nil)
			} else {
				safe := common.Hash{}
				if rng.IntN(4) == 0 {
					safe = path[rng.IntN(at+1)].Hash()
				}
				status, err := f.choose(block.Hash(), safe, common.Hash{}, timeout)
				m.answer("head", block.Hash(), status, err)
			}
			timeout /= 4
		}
		time.Sleep(time.Duration(rng.Int64N(int64(3 * time.Second))))
	}
}

// changeModes switches a beaming node to full, and back when its state is lost.
func (m *randomModel) changeModes(ctx context.Context, f *fixture, mode, keep int) {
	rng := rand.New(rand.NewPCG(uint64(keep), uint64(mode)))
	for mode != 0 && ctx.Err() == nil {
		if mode == 1 {
			select {
			case <-f.importer.StateLost():
				f.importer.SwitchToBeaming()
			case <-ctx.Done():
				return
			}
			mode = 2
		}
		select {
		case <-time.After(time.Duration(rng.Int64N(int64(40 * time.Second)))):
		case <-ctx.Done():
			return
		}
		base := f.chain.CurrentHeader()
		for range rng.IntN(6) {
			if below := f.chain.Header(base.ParentHash); below != nil && f.chain.Status(below.Hash()) == chain.Executed {
				base = below
			}
		}
		full := &newestStates{states: m.states, keep: keep, roots: []common.Hash{base.Root}}
		err := f.importer.SwitchToFull(ctx, full, base, func() error { return nil })
		m.mu.Lock()
		m.noteLocked("  switch to full at %s: %v", m.name[base.Hash()], err)
		m.mu.Unlock()
		if err == nil {
			mode = 1
		} else if !errors.Is(err, trie.ErrUnavailable) && ctx.Err() == nil {
			m.fail("switch to full: %v", err)
		}
	}
}
