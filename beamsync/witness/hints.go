// SPDX-License-Identifier: LGPL-3.0-or-later

package witness

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sunbeam-eth/sunbeam/beamsync/peer"
	"github.com/sunbeam-eth/sunbeam/beamsync/prefetch"
	"github.com/sunbeam-eth/sunbeam/trie"
)

const (
	// hintDeadline is how long a hint is waited for. Whoever got the block when we did needs
	// a few hundred milliseconds to execute it; later than this, speculation has found most
	// keys by itself.
	hintDeadline = 900 * time.Millisecond
	// hintPause is after what time a peer that had not executed the block is asked again.
	hintPause = 150 * time.Millisecond
	// maxHintPeers bounds the peers that are asked at the same time for one block.
	maxHintPeers = 3
	// maxSilent is for how many blocks in a row a peer may have no hint until all others are asked before it.
	maxSilent = 2
)

// What a block can read is bounded by its gas: a key costs no less than a slot of an access
// list, 1900 (EIP-2930), and at most a fifth is refunded (EIP-3529). What it reads for free are
// senders, recipients and the coinbase, withdrawals, and the queues of the system contracts
// (EIP-7002, EIP-7251); blocks of older rules stay below that as well.
const (
	gasPerKey       = 1900 * 4 / 5
	freeKeys        = 512
	keysPerTransfer = 3
)

func maxHintKeys(block *types.Block) int {
	return freeKeys + len(block.Withdrawals()) + keysPerTransfer*len(block.Transactions()) + int(block.GasUsed()/gasPerKey)
}

// Peer is a peer that may serve hints: what the blocks read that it has executed.
type Peer interface {
	// ID names the node, as that of [peer.Peer] does.
	ID() string
	// ServesWitnessKeys says whether beam/2 was agreed on.
	ServesWitnessKeys() bool
	// WitnessKeys asks for what executing a block read: an RLP list, nil if the peer does not
	// know.
	WitnessKeys(ctx context.Context, block common.Hash) (rlp.RawValue, error)
}

// hintPeer is a peer and what its hints were worth.
type hintPeer struct {
	Peer
	useful int // hints that named mostly what the block read
	silent int // blocks in a row for which it had no hint in time
}

// hint is what a peer said that a block reads.
type hint struct {
	peer    *hintPeer
	touched *trie.Touched
}

// The results of hints, a closed set of label values.
const (
	hintNone    = "none"    // no peer had one in time
	hintTaken   = "taken"   // one arrived; the first one counts
	hintUseful  = "useful"  // the block was executed, and read most of what it named
	hintWrong   = "wrong"   // the block was executed, and read less than half of it
	hintInvalid = "invalid" // it was malformed, or larger than what a block can read
)

type metrics struct{ hints *prometheus.CounterVec }

func newMetrics(reg prometheus.Registerer) metrics {
	m := metrics{prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "beam_witness_hints_total", Help: "Hints of what blocks read, requested from peers, by result.",
	}, []string{"result"})}
	for _, result := range []string{hintNone, hintTaken, hintUseful, hintWrong, hintInvalid} {
		m.hints.WithLabelValues(result)
	}
	if reg != nil {
		reg.MustRegister(m.hints)
	}
	return m
}

// Join adds a connected peer, if it serves witness keys and is not banned. It does not block.
func (w *Exchange) Join(p Peer) {
	if !p.ServesWitnessKeys() || w.cfg.Book.Banned(p.ID()) {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.peers = append(w.peers, &hintPeer{Peer: p})
}

// Leave removes a peer that is gone. It does not block.
func (w *Exchange) Leave(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.peers = slices.DeleteFunc(w.peers, func(p *hintPeer) bool { return p.ID() == id })
}

// Collect asks peers what a block reads and fetches that through session, which takes three
// round trips: the hint, the accounts, their codes and storage. It is meant to run concurrently with the
// [prefetch.Prefetcher] with a session of the same fetcher, which fetches once what both want. It returns
// whether there was a hint, and early when ctx ends or a fetch fails.
func (w *Exchange) Collect(ctx context.Context, block *types.Block, parentRoot common.Hash, session prefetch.Hinter) (bool, error) {
	touched, ok := w.Hint(ctx, block)
	if !ok {
		return false, ctx.Err()
	}
	return true, prefetch.Touched(ctx, touched, w.cfg.Store(parentRoot), parentRoot, session)
}

// Hint asks a few peers what a block reads and returns the first answer that could be true. It
// waits a fraction of a second at most, and not at all if nobody can be asked.
func (w *Exchange) Hint(ctx context.Context, block *types.Block) (*trie.Touched, bool) {
	peers := w.pick()
	if len(peers) == 0 {
		return nil, false
	}
	ctx, cancel := context.WithTimeout(ctx, hintDeadline)
	var requests sync.WaitGroup
	defer requests.Wait()
	defer cancel()
	answers := make(chan hint, len(peers))
	for _, p := range peers {
		requests.Go(func() {
			touched := w.ask(ctx, p, block)
			w.noteAnswer(p, touched != nil, errors.Is(ctx.Err(), context.DeadlineExceeded))
			answers <- hint{p, touched}
		})
	}
	for range peers {
		if first := <-answers; first.touched != nil {
			w.metrics.hints.WithLabelValues(hintTaken).Inc()
			w.mu.Lock()
			defer w.mu.Unlock()
			w.unrated.Add(block.Hash(), first)
			return first.touched, true
		}
	}
	w.metrics.hints.WithLabelValues(hintNone).Inc()
	return nil, false
}

// pick chooses whom to ask: the peers that were useful most often, except for those that are
// banned, excluded or back off. Peers that had none lately come last, so that they keep no place from others.
func (w *Exchange) pick() []*hintPeer {
	w.mu.Lock()
	defer w.mu.Unlock()
	var peers []*hintPeer
	now := time.Now()
	ranked := slices.Clone(w.peers)
	slices.SortStableFunc(ranked, func(a, b *hintPeer) int {
		return cmp.Or(cmp.Compare(a.silent/maxSilent, b.silent/maxSilent), cmp.Compare(b.useful, a.useful), cmp.Compare(a.silent, b.silent))
	})
	for _, p := range ranked {
		if len(peers) < maxHintPeers && !w.cfg.Book.Banned(p.ID()) && !now.Before(w.cfg.Book.RetryAt(p.ID(), peer.KindWitnessKeys)) {
			peers = append(peers, p)
		}
	}
	return peers
}

// ask asks one peer until it has executed the block or ctx ends; nil if nothing came of it.
func (w *Exchange) ask(ctx context.Context, p *hintPeer, block *types.Block) *trie.Touched {
	pause := time.NewTimer(hintPause)
	defer pause.Stop()
	for {
		sent := time.Now()
		keys, err := p.WitnessKeys(ctx, block.Hash())
		if err != nil {
			if ctx.Err() == nil {
				w.cfg.Book.Refused(p.ID(), peer.KindWitnessKeys, sent)
			}
			return nil
		}
		if len(keys) > 0 {
			touched, err := decodeTouched(keys, maxHintKeys(block))
			if err != nil {
				w.metrics.hints.WithLabelValues(hintInvalid).Inc()
				w.cfg.Book.Blame(p.ID(), peer.BlameInvalid, fmt.Sprintf("witness keys of block %d: %v", block.NumberU64(), err))
				return nil
			}
			w.cfg.Book.Served(p.ID(), peer.KindWitnessKeys)
			return touched
		}
		pause.Reset(hintPause)
		select {
		case <-pause.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// noteAnswer notes whether a peer had a hint, or none until the deadline. That another peer was faster says nothing about it.
func (w *Exchange) noteAnswer(p *hintPeer, answered, late bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if answered {
		p.silent = 0
	} else if late {
		p.silent++
	}
}

// rateHint compares the hint for a block, if there was one, with what the block did touch.
func (w *Exchange) rateHint(block common.Hash, touched *trie.Touched) {
	w.mu.Lock()
	given, ok := w.unrated.Get(block)
	if !ok {
		w.mu.Unlock()
		return
	}
	w.unrated.Remove(block)
	named, read := given.touched.Keys(), commonKeys(given.touched, touched)
	if wrong := 2*read < named; wrong {
		w.mu.Unlock()
		w.metrics.hints.WithLabelValues(hintWrong).Inc()
		id := given.peer.ID()
		w.cfg.Book.Exclude(id, peer.KindWitnessKeys)
		w.log.Debug("Peer gave a wrong hint, not asking it for hints any more", "peer", id, "block", block, "named", named, "read", read)
		w.cfg.Book.Blame(id, peer.BlameUseless, fmt.Sprintf("block %x read %d of the %d keys that it named", block, read, named))
		return
	}
	given.peer.useful++
	slices.SortStableFunc(w.peers, func(a, b *hintPeer) int { return cmp.Compare(b.useful, a.useful) })
	w.mu.Unlock()
	w.metrics.hints.WithLabelValues(hintUseful).Inc()
}

// commonKeys counts the accounts and slots that are in both.
func commonKeys(a, b *trie.Touched) (n int) {
	inBoth(a.Accounts, b.Accounts, func(x, y trie.TouchedAccount) int { return x.Address.Cmp(y.Address) }, func(x, y trie.TouchedAccount) {
		n++
		inBoth(x.Slots, y.Slots, common.Hash.Cmp, func(_, _ common.Hash) { n++ })
	})
	return n
}

// inBoth visits what is in both of two lists that increase.
func inBoth[T any](a, b []T, compare func(x, y T) int, visit func(x, y T)) {
	for len(a) > 0 && len(b) > 0 {
		switch c := compare(a[0], b[0]); {
		case c < 0:
			a = a[1:]
		case c > 0:
			b = b[1:]
		default:
			visit(a[0], b[0])
			a, b = a[1:], b[1:]
		}
	}
}
