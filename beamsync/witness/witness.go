package witness

import (
	"context"
	"log/slog"
	"math"
	"sync"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/lru"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sunbeam-eth/sunbeam/beamsync/peer"
	"github.com/sunbeam-eth/sunbeam/beamsync/prefetch"
	"github.com/sunbeam-eth/sunbeam/evm"
	"github.com/sunbeam-eth/sunbeam/trie"
)

// witnessBlocks is how many blocks' witnesses are kept: who asks is a few blocks behind, and
// twice the lag at which it would give up (DefaultMaxLag) is plenty. A full mainnet block takes
// some 50 KB, and 150 KB more once somebody asked for its hashes.
const witnessBlocks = 64

// WitnessesConfig is what [Witnesses] work with.
type Config struct {
	Store      func(root common.Hash) trie.Store // of the state that blocks are executed on; required
	Blamer     peer.Blamer                       // is told of peers' faults; nil: nobody is. Must not block
	Log        *slog.Logger                      // nil: silent
	Registerer prometheus.Registerer
}

// Witnesses is both ends of the witness protocols (docs/wit.md). It keeps what the newest
// blocks that were executed here touched, and tells it to peers; and it asks peers for what
// blocks touch that are not executed here yet. It is safe for concurrent use.
//
// What a peer tells is a hint and nothing but a hint: keys, of which what is there is fetched
// from whoever has it and verified from the state root down. A wrong one costs bytes, and the
// peer is not asked again.
type Witnesses struct {
	cfg     Config
	log     *slog.Logger
	metrics witnessMetrics
	blocks  *lru.Cache[common.Hash, *touchedBlock]

	mu    sync.Mutex
	peers []*hintPeer // the more useful ones first
	taken lru.BasicLRU[common.Hash, hint]
}

// touchedBlock is what one block touched, as peers get it.
type touchedBlock struct {
	keys   rlp.RawValue
	hashes func() []common.Hash // found out when first asked for
}

// NewWitnesses returns an empty record without peers.
func New(cfg Config) *Witnesses {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Witnesses{
		cfg:     cfg,
		log:     cfg.Log,
		metrics: newWitnessMetrics(cfg.Registerer),
		blocks:  lru.NewCache[common.Hash, *touchedBlock](witnessBlocks),
		taken:   lru.NewBasicLRU[common.Hash, hint](witnessBlocks),
	}
}

// Record keeps what the execution of a valid block touched of its parent's state.
func (w *Witnesses) Record(block, parentRoot common.Hash, touched *trie.Touched) {
	keys := encodeTouched(touched)
	w.blocks.Add(block, &touchedBlock{
		keys: keys,
		hashes: sync.OnceValue(func() []common.Hash {
			return w.hashes(keys, parentRoot)
		}),
	})
	w.judge(block, touched)
}

// hashes finds the nodes that keys lead to, as far as they are held: all of them, unless the
// store has dropped some since.
func (w *Witnesses) hashes(keys rlp.RawValue, root common.Hash) []common.Hash {
	touched, err := decodeTouched(keys, math.MaxInt)
	if err != nil {
		w.log.Error("Witness of our own does not decode", "err", err)
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
func (w *Witnesses) WitnessHashes(block common.Hash) []common.Hash {
	if held, ok := w.blocks.Get(block); ok {
		return held.hashes()
	}
	return nil
}

// WitnessKeys returns the keys that executing a block read (beam/2), nil if that is not known.
func (w *Witnesses) WitnessKeys(block common.Hash) rlp.RawValue {
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
func (w *Witnesses) Executor(inner BlockExecutor) BlockExecutor { return recorder{inner, w} }

type recorder struct {
	BlockExecutor
	witnesses *Witnesses
}

// Execute implements [BlockExecutor].
func (r recorder) Execute(ctx context.Context, job evm.Job) *evm.Result {
	result := r.BlockExecutor.Execute(ctx, job)
	if result.Outcome == evm.Valid {
		r.witnesses.Record(job.Block.Hash(), job.Parent.Root, job.State.Touched())
	}
	return result
}
