// SPDX-License-Identifier: LGPL-3.0-or-later

package witness

import (
	"context"
	"log/slog"
	"math"
	"sync"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/lru"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sunbeam-eth/sunbeam/beamsync/peer"
	"github.com/sunbeam-eth/sunbeam/beamsync/prefetch"
	"github.com/sunbeam-eth/sunbeam/evm"
	"github.com/sunbeam-eth/sunbeam/trie"
)

// maxBlocks is how many blocks' records are kept. Peers that ask are a few blocks behind, so
// twice the lag at which they pivot (DefaultMaxLag) is enough. A full mainnet block takes some
// 50 KB, and 150 KB more after a first request for its hashes.
const maxBlocks = 64

// Config is what an [Exchange] works with.
type Config struct {
	Store      func(root common.Hash) trie.Store // of the state that blocks are executed on; required
	Book       *peer.Book                        // bans and back-offs, shared with all who send requests to peers; nil: one of its own
	Log        *slog.Logger                      // nil: silent
	Registerer prometheus.Registerer
}

// Exchange is both ends of the witness protocols (docs/wit.md). It records what the newest blocks
// touched that were executed here, and serves that to peers; and it asks peers for hints of what
// other blocks touch. It is safe for concurrent use.
type Exchange struct {
	cfg     Config
	log     *slog.Logger
	metrics metrics
	blocks  *lru.Cache[common.Hash, *touchedBlock]

	mu      sync.Mutex
	peers   []*hintPeer // the most useful ones first
	unrated lru.BasicLRU[common.Hash, hint]
}

// touchedBlock is what one block touched, as peers get it.
type touchedBlock struct {
	parent *types.Header
	oldest uint64 // see evm.Reads
	keys   rlp.RawValue
	whole  bool                 // keys has all
	hashes func() []common.Hash // computed at the first request
}

// New returns an exchange without records and peers.
func New(cfg Config) *Exchange {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Book == nil {
		cfg.Book = peer.NewBook(peer.BookConfig{Log: cfg.Log})
	}
	w := &Exchange{
		cfg:     cfg,
		log:     cfg.Log,
		metrics: newMetrics(cfg.Registerer),
		blocks:  lru.NewCache[common.Hash, *touchedBlock](maxBlocks),
		unrated: lru.NewBasicLRU[common.Hash, hint](maxBlocks),
	}
	cfg.Book.OnBan(w.Leave)
	return w
}

// Record keeps what the execution of a valid block read.
func (w *Exchange) Record(block common.Hash, reads evm.Reads) {
	keys, whole := encodeTouched(reads.Touched)
	w.blocks.Add(block, &touchedBlock{
		parent: reads.Parent,
		oldest: reads.Oldest,
		keys:   keys,
		whole:  whole,
		hashes: sync.OnceValue(func() []common.Hash {
			return w.hashes(keys, reads.Parent.Root)
		}),
	})
	w.rateHint(block, reads.Touched)
}

// Reads returns what the execution of a block read, nil if that is not known, or not all of it.
func (w *Exchange) Reads(block common.Hash) *evm.Reads {
	held, ok := w.blocks.Get(block)
	if !ok || !held.whole {
		return nil
	}
	touched, err := decodeTouched(held.keys, math.MaxInt)
	if err != nil {
		w.log.Error("Own witness keys do not decode", "err", err)
		return nil
	}
	return &evm.Reads{Parent: held.parent, Touched: touched, Oldest: held.oldest}
}

// hashes finds the nodes that keys lead to, as far as they are held: all of them, unless the
// store has dropped some since.
func (w *Exchange) hashes(keys rlp.RawValue, root common.Hash) []common.Hash {
	touched, err := decodeTouched(keys, math.MaxInt)
	if err != nil {
		w.log.Error("Own witness keys do not decode", "err", err)
		return nil
	}
	hashes, err := touched.Hashes(w.cfg.Store(root), root)
	if err != nil {
		w.log.Warn("Witness hashes are incomplete", "root", root, "err", err)
	}
	return hashes
}

// WitnessHashes returns the hashes of the nodes and codes that executing a block needed (wit/0),
// nil if that is not known.
func (w *Exchange) WitnessHashes(block common.Hash) []common.Hash {
	if held, ok := w.blocks.Get(block); ok {
		return held.hashes()
	}
	return nil
}

// WitnessKeys returns the keys that executing a block read (beam/2), nil if that is not known.
func (w *Exchange) WitnessKeys(block common.Hash) rlp.RawValue {
	if held, ok := w.blocks.Get(block); ok {
		return held.keys
	}
	return nil
}

// BlockExecutor runs blocks; evm.Executor implements it.
type BlockExecutor interface {
	prefetch.Speculator
	Execute(ctx context.Context, job evm.Job) *evm.Result
}

// Executor returns an executor that records what valid blocks touched.
func (w *Exchange) Executor(inner BlockExecutor) BlockExecutor { return recorder{inner, w} }

type recorder struct {
	BlockExecutor
	exchange *Exchange
}

// Execute implements [BlockExecutor].
func (r recorder) Execute(ctx context.Context, job evm.Job) *evm.Result {
	result := r.BlockExecutor.Execute(ctx, job)
	if result.Outcome == evm.Valid {
		r.exchange.Record(job.Block.Hash(), evm.Reads{Parent: job.Parent, Touched: job.State.Touched(), Oldest: result.OldestHash})
	}
	return result
}
