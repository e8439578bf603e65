package evm

import (
	"context"
	"fmt"
	"sync"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/consensus"
	"github.com/ethereum/go-ethereum/core/state"
	"github.com/ethereum/go-ethereum/core/tracing"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/params"

	"github.com/sunbeam-eth/sunbeam/trie"
)

// ancestry is the chain as one execution sees it: go-ethereum's core.ChainContext
// over [Headers], with an error latch. The interface can only answer nil for a header
// that is missing, and BLOCKHASH turns that into a zero hash.
type ancestry struct {
	ctx        context.Context //nolint:containedctx // ChainContext has none to pass
	config     *params.ChainConfig
	engine     consensus.Engine
	parent     *types.Header
	parentHash common.Hash
	standIn    bool // parent is not the header with parentHash
	source     Headers
	state      State

	mu     sync.Mutex // never held across a fetch
	known  map[common.Hash]*types.Header
	asked  bool // the stand-in was handed out
	failed error
}

func newAncestry(ctx context.Context, e *Executor, job Job) *ancestry {
	return &ancestry{
		ctx:        ctx,
		config:     e.config,
		engine:     e.engine,
		parent:     job.Parent,
		parentHash: job.Block.ParentHash(),
		standIn:    job.Parent.Hash() != job.Block.ParentHash(),
		source:     job.Headers,
		state:      job.State,
		known:      make(map[common.Hash]*types.Header),
	}
}

// err returns the latch: the first header that could not be had.
func (a *ancestry) err() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.failed
}

// fail sets the latch, and that of the state with it, so that the execution ends.
func (a *ancestry) fail(err error) {
	a.mu.Lock()
	if a.failed == nil {
		a.failed = err
	}
	a.mu.Unlock()
	a.state.Fail(err)
}

// GetHeader implements consensus.ChainHeaderReader. It returns nil, and sets the
// latch, if the header cannot be had.
func (a *ancestry) GetHeader(hash common.Hash, number uint64) *types.Header {
	header, failed := a.held(hash)
	if header != nil || failed {
		return header
	}
	header, err := a.source.Header(a.ctx, hash, number)
	if err == nil && (header == nil || header.Hash() != hash) {
		err = trie.ErrWrongBlob
	}
	if err != nil {
		a.fail(fmt.Errorf("header of block %d %x: %w", number, hash, err))
		return nil
	}
	a.mu.Lock()
	a.known[hash] = header
	a.mu.Unlock()
	return header
}

// held returns what is known without asking. The stand-in answers the first request
// for the parent, which is that of the StateProcessor for the block it builds on, and
// no other: those of BLOCKHASH want to know the grandparent.
func (a *ancestry) held(hash common.Hash) (header *types.Header, failed bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if hash == a.parentHash && (!a.standIn || !a.asked) {
		a.asked = true
		return a.parent, false
	}
	return a.known[hash], a.failed != nil
}

// correction returns the tracer that puts the parent's true hash where go-ethereum
// writes that of a stand-in (EIP-2935); nil if the parent is itself. It applies at
// once, so nothing in the block can see the difference.
func (a *ancestry) correction(statedb *state.StateDB) *tracing.Hooks {
	if !a.standIn {
		return nil
	}
	wrong := a.parent.Hash()
	return &tracing.Hooks{
		OnStorageChange: func(addr common.Address, slot, _, value common.Hash) {
			if addr == params.HistoryStorageAddress && value == wrong {
				statedb.SetState(addr, slot, a.parentHash)
			}
		},
	}
}

// Config implements consensus.ChainHeaderReader.
func (a *ancestry) Config() *params.ChainConfig { return a.config }

// Engine implements core.ChainContext.
func (a *ancestry) Engine() consensus.Engine { return a.engine }

// CurrentHeader implements consensus.ChainHeaderReader.
func (a *ancestry) CurrentHeader() *types.Header { return a.parent }

// GetHeaderByHash implements consensus.ChainHeaderReader. Executing does not call it.
func (a *ancestry) GetHeaderByHash(hash common.Hash) *types.Header {
	return a.GetHeader(hash, a.parent.Number.Uint64())
}

// GetHeaderByNumber implements consensus.ChainHeaderReader. Executing does not call
// it, and ancestors are known by hash only, so no header is ever found.
func (a *ancestry) GetHeaderByNumber(uint64) *types.Header { return nil }
