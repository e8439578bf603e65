package beamsync

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/beacon/engine"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"

	"github.com/sunbeam-eth/sunbeam/chain"
	"github.com/sunbeam-eth/sunbeam/evm"
	"github.com/sunbeam-eth/sunbeam/trie"
)

// pending is one block in work and everyone who waits for its outcome.
type pending struct {
	block *types.Block
	since time.Time

	done   chan struct{} // closed by finish; status is set before
	status engine.PayloadStatusV1

	mu struct {
		sync.Mutex
		reason   error                   // why it was given up
		cancel   context.CancelCauseFunc // ends the work, once that has begun
		stage    string
		finished bool
	}
}

func newPending(block *types.Block) *pending {
	p := &pending{block: block, since: time.Now(), done: make(chan struct{})}
	p.mu.stage = "queued"
	return p
}

func (p *pending) number() uint64 { return p.block.NumberU64() }

// wait returns the outcome, or SYNCING when ctx ends first.
func (p *pending) wait(ctx context.Context) engine.PayloadStatusV1 {
	select {
	case <-p.done:
		return p.status
	case <-ctx.Done():
		return syncing()
	}
}

func (p *pending) finish(status engine.PayloadStatusV1) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.finished {
		return
	}
	p.mu.finished = true
	p.status = status
	close(p.done)
}

// giveUp tells the working goroutine to stop; it reports whether that was news.
func (p *pending) giveUp(reason error) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.finished || p.mu.reason != nil {
		return false
	}
	p.mu.reason = reason
	if p.mu.cancel != nil {
		p.mu.cancel(reason)
	}
	return true
}

// begin notes how the work can be ended; a block that was given up before ends at once.
func (p *pending) begin(cancel context.CancelCauseFunc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.cancel = cancel
	if p.mu.reason != nil {
		cancel(p.mu.reason)
	}
}

// enter notes what the block is waiting for, for status and logs.
func (p *pending) enter(stage string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.stage = stage
}

func (p *pending) stage() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mu.stage
}

// basis is what a block is executed on.
type basis struct {
	parent *types.Header
	beamed bool // the parent was not executed here: beaming begins with this block
}

// work takes one block from "asked for" to its outcome.
func (i *Importer) work(ctx context.Context, p *pending) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	p.begin(cancel)

	status, err := i.process(ctx, p)
	switch {
	case err == nil:
	case errors.Is(context.Cause(ctx), errSuperseded):
		i.cfg.Log.Info("Block given up", "number", p.number(), "hash", p.block.Hash(), "reason", errSuperseded)
	case ctx.Err() != nil: // shutting down
	case errors.Is(err, trie.ErrUnavailable):
		i.cfg.Log.Warn("Block is incomplete", "number", p.number(), "hash", p.block.Hash(), "err", err)
	default:
		i.cfg.Log.Error("Block could not be processed", "number", p.number(), "hash", p.block.Hash(), "err", err)
	}
	if err != nil {
		status = syncing()
		i.strand(p, err)
	}
	i.finish(p, status)
	if status.Status == engine.VALID {
		i.applyChoice(p.block.Hash())
	}
}

// process returns the outcome of a block, or why there is none.
func (i *Importer) process(ctx context.Context, p *pending) (engine.PayloadStatusV1, error) {
	base, status, err := i.findBasis(ctx, p)
	if status != nil {
		return *status, err
	}
	if err != nil {
		return i.settleError(p, err)
	}
	if base.parent == nil { // it was executed: the store is broken, which says nothing about the block
		return engine.PayloadStatusV1{}, errHeaderGone(p.block.ParentHash())
	}
	if base.beamed { // nobody asked before what its parent is worth, or that has shown since
		if status, known := i.settled(p.block.Hash(), p.block.ParentHash()); known {
			return status, nil
		}
	}
	// The rules that need no state come before anything is fetched for the block.
	switch err := i.verify(p.block, base.parent); {
	case errors.Is(err, chain.ErrBodyMismatch): // nothing to remember of a hash that may be good
		return invalid(i.cfg.Chain.LatestValid(p.block.ParentHash()), err), nil
	case err != nil:
		return i.reject(p, err), nil
	}
	if base.beamed {
		if err := i.beginBeaming(p, base.parent); err != nil {
			return engine.PayloadStatusV1{}, err
		}
	} else {
		i.supersede(p.number()) // what has come no further waits for something that nobody has any more
	}
	p.enter("slot")
	select {
	case i.slots <- struct{}{}:
		defer func() { <-i.slots }()
	case <-ctx.Done():
		return engine.PayloadStatusV1{}, ctx.Err()
	}
	return i.execute(ctx, p, base)
}

// errHeaderGone says that the header of an executed block could not be read.
func errHeaderGone(hash common.Hash) error {
	return fmt.Errorf("header of executed block %x cannot be read", hash)
}

// settleError makes INVALID of a block whose ancestor turned out to be.
func (i *Importer) settleError(p *pending, err error) (engine.PayloadStatusV1, error) {
	if bad := new(invalidAncestor); errors.As(err, &bad) {
		if status, known := i.settled(p.block.Hash(), p.block.ParentHash()); known {
			return status, nil
		}
		return invalid(bad.latest, bad.reason), nil // too far from its ancestor to be remembered
	}
	return engine.PayloadStatusV1{}, err
}

// verify checks the rules of header and body, which need no state.
func (i *Importer) verify(block *types.Block, parent *types.Header) error {
	if err := chain.VerifyHeader(i.cfg.Chain.Config(), block.Header(), parent); err != nil {
		return err
	}
	if err := chain.VerifyBody(i.cfg.Chain.Config(), block); err != nil {
		return err
	}
	return i.cfg.Chain.VerifyUncles(block)
}

// settlement is the outcome of a block that needs no execution.
type settlement = engine.PayloadStatusV1

// findBasis finds or makes what the block stands on. A non-nil status settles the block
// without execution (an invalid ancestor).
func (i *Importer) findBasis(ctx context.Context, p *pending) (basis, *settlement, error) {
	if states := i.full(); states != nil {
		return i.fullBasis(ctx, p, states)
	}
	hash := p.block.ParentHash()
	if i.cfg.Chain.Status(hash) == chain.Executed {
		return basis{parent: i.cfg.Chain.Header(hash)}, nil, nil
	}
	parent, waits := i.lookup(hash), i.waiting(hash)
	switch {
	case waits > i.cfg.MaxLag, parent == nil && !i.withinReach(p.number()):
		header, err := i.parentHeader(ctx, p)
		return basis{parent: header, beamed: true}, nil, err
	case parent == nil:
		var err error
		if parent, err = i.connect(ctx, p); err != nil {
			return basis{}, nil, err
		}
	}
	if parent != nil {
		end := i.collectAhead(ctx, p.block, parent.block.Header())
		settled, err := i.awaitParent(ctx, p, parent)
		end()
		if settled != nil || err != nil {
			return basis{}, settled, err
		}
	}
	if i.cfg.Chain.Status(hash) != chain.Executed {
		// No executed ancestor within reach: a side chain deeper than the lag allows.
		header, err := i.parentHeader(ctx, p)
		return basis{parent: header, beamed: true}, nil, err
	}
	return basis{parent: i.cfg.Chain.Header(hash)}, nil, nil
}

// awaitParent waits for an ancestor in work. That is always done: a block is not VALID on top of an
// invalid one.
func (i *Importer) awaitParent(ctx context.Context, p, parent *pending) (*settlement, error) {
	p.enter("parent")
	status := parent.wait(ctx)
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case status.Status == engine.INVALID:
		if status, known := i.settled(p.block.Hash(), p.block.ParentHash()); known {
			return &status, nil
		}
		// Nothing is remembered of the parent: it was a wrong body, and the hash may be good.
		return nil, fmt.Errorf("parent %x: no outcome: %w", p.block.ParentHash(), trie.ErrUnavailable)
	case status.Status != engine.VALID:
		return nil, fmt.Errorf("parent %x: no outcome: %w", p.block.ParentHash(), trie.ErrUnavailable)
	}
	return nil, nil
}

// waiting is how many blocks in work there are from this one downward.
func (i *Importer) waiting(hash common.Hash) uint64 {
	i.mu.Lock()
	defer i.mu.Unlock()
	var n uint64
	for p := i.mu.pending[hash]; p != nil; p = i.mu.pending[p.block.ParentHash()] {
		n++
	}
	return n
}

// withinReach says whether the ancestors of a block are worth fetching and executing: not on a
// fresh node, and not if that has lagged too far.
func (i *Importer) withinReach(number uint64) bool {
	highest := i.highestExecuted()
	return highest > 0 && number <= highest+i.cfg.MaxLag || number == 1
}

// highestExecuted is the number of the highest block that was executed here, chosen as the head
// or not; 0 on a fresh node.
func (i *Importer) highestExecuted() uint64 {
	head := i.cfg.Chain.CurrentHeader().Number.Uint64()
	i.mu.Lock()
	defer i.mu.Unlock()
	return max(head, i.mu.executed)
}

// parentHeader gets the header of a block's parent from wherever it is.
func (i *Importer) parentHeader(ctx context.Context, p *pending) (*types.Header, error) {
	hash := p.block.ParentHash()
	if header := i.cfg.Chain.Header(hash); header != nil {
		return header, nil
	}
	if parent := i.lookup(hash); parent != nil {
		return parent.block.Header(), nil
	}
	p.enter("parent header")
	headers, err := i.cfg.Blocks.Headers(ctx, hash, 1)
	if err != nil {
		return nil, fmt.Errorf("header of parent %x: %w", hash, err)
	}
	return headers[0], nil
}

// connect fetches the missing ancestors of a block, up to the lag, and puts them to work. It
// returns the pending of the parent, or nil if no executed ancestor is within reach.
func (i *Importer) connect(ctx context.Context, p *pending) (*pending, error) {
	p.enter("ancestors")
	var (
		missing []*types.Header // newest first
		hash    = p.block.ParentHash()
	)
	for i.cfg.Chain.Status(hash) != chain.Executed && i.lookup(hash) == nil {
		if uint64(len(missing)) >= i.cfg.MaxLag {
			return nil, i.condemned(missing) // out of reach, which is not an error
		}
		headers, err := i.cfg.Blocks.Headers(ctx, hash, int(i.cfg.MaxLag)-len(missing))
		if err != nil {
			return nil, fmt.Errorf("ancestors of block %d: %w", p.number(), err)
		}
		for _, header := range headers {
			if i.cfg.Chain.Status(hash) == chain.Executed || i.lookup(hash) != nil {
				break
			}
			missing = append(missing, header)
			hash = header.ParentHash
			if header.Number.Sign() == 0 {
				return nil, fmt.Errorf("block %d links to a foreign genesis %x", p.number(), header.Hash())
			}
		}
	}
	if len(missing) == 0 { // the parent was executed or put to work meanwhile
		return i.lookup(hash), nil
	}
	i.lists.want(missing...)
	blocks, err := i.cfg.Blocks.Bodies(ctx, missing)
	if err != nil {
		return nil, fmt.Errorf("bodies of the ancestors of block %d: %w", p.number(), err)
	}
	var parent *pending
	for n := len(blocks) - 1; n >= 0; n-- { // oldest first, so that each finds its parent in work
		if parent, err = i.enlist(ctx, blocks[n]); err != nil {
			return nil, fmt.Errorf("ancestor %d: %w", blocks[n].NumberU64(), err)
		}
	}
	return parent, nil
}

// condemned returns an *invalidAncestor if one of these headers, newest first and linked, or what the last one stands on, is that
// of a bad block or of one on top of it: what stands on them must not be beamed on.
func (i *Importer) condemned(headers []*types.Header) error {
	hash := headers[0].Hash()
	for at := 0; ; at++ {
		if latest, err := i.cfg.Chain.LastingRejection(hash); err != nil {
			for at--; at >= 0; at-- {
				i.cfg.Chain.RejectChild(headers[at].Hash(), headers[at].ParentHash)
			}
			return &invalidAncestor{latest: latest, reason: err}
		}
		if at == len(headers) {
			return nil
		}
		hash = headers[at].ParentHash
	}
}

// beginBeaming notes the parent that is not executed here, and gives up what is left behind.
func (i *Importer) beginBeaming(p *pending, parent *types.Header) error {
	if err := i.cfg.Chain.AddHeaders([]*types.Header{parent}); err != nil {
		return fmt.Errorf("header of parent %x: %w", parent.Hash(), err)
	}
	highest := i.highestExecuted()
	if highest == 0 {
		i.cfg.Log.Info("Beaming begins", "number", p.number(), "hash", p.block.Hash(), "state_root", parent.Root)
		return nil
	}
	reason := pivotLag
	if p.number() <= highest+i.cfg.MaxLag {
		reason = pivotUnconnected
	}
	dropped := i.supersede(p.number())
	i.metrics.pivots.WithLabelValues(reason).Inc()
	i.cfg.Log.Warn("Pivot to the newest head", "reason", reason, "number", p.number(), "hash", p.block.Hash(),
		"executed", highest, "dropped", dropped)
	return nil
}

// execute runs the block and makes its outcome durable.
func (i *Importer) execute(ctx context.Context, p *pending, base basis) (engine.PayloadStatusV1, error) {
	state, session, err := i.source(ctx, p, base)
	if err != nil {
		return i.settleError(p, err)
	}
	begin := time.Now()
	block := p.block
	if session != nil {
		block = i.gather(ctx, p, base, session)
	}
	p.enter("executing")
	executed := time.Now()
	result := i.cfg.Executor.Execute(ctx, evm.Job{
		Block:   block,
		Parent:  base.parent,
		State:   state,
		Headers: ancestors{i},
	})
	i.metrics.phases.WithLabelValues(phaseExecute).Observe(time.Since(executed).Seconds())
	took := time.Since(begin)

	var (
		status  engine.PayloadStatusV1
		fetched Stats
	)
	if session != nil {
		fetched = session.Stats()
	}
	switch result.Outcome {
	case evm.Incomplete:
		i.report(p, result, fetched, took)
		return status, result.Err
	case evm.Invalid:
		status = i.reject(p, result.Err)
	case evm.Valid:
		if base.beamed { // its parent may have turned out bad meanwhile
			if status, known := i.settled(p.block.Hash(), p.block.ParentHash()); known {
				return status, nil
			}
		}
		if err := i.keep(block, result); err != nil {
			return status, err
		}
		status = valid(p.block.Hash())
	}
	i.metrics.phases.WithLabelValues(phaseCommit).Observe((time.Since(begin) - took).Seconds())
	i.report(p, result, fetched, took)
	return status, nil
}

// gather collects what a block will read, and returns the block with its access list if that was found.
func (i *Importer) gather(ctx context.Context, p *pending, base basis, session StateSession) *types.Block {
	begin := time.Now()
	p.enter("collecting")
	unhint := i.hint(ctx, p.block, base.parent.Root)
	defer unhint()
	block, err := i.collect(ctx, p.block, base.parent, session)
	if err != nil && ctx.Err() == nil {
		i.cfg.Log.Debug("Collecting ended early", "number", p.number(), "err", err)
	}
	i.metrics.phases.WithLabelValues(phaseCollect).Observe(time.Since(begin).Seconds())
	return block
}

// keep makes a valid block durable. That this fails is the end of Run.
func (i *Importer) keep(block *types.Block, result *evm.Result) error {
	if err := i.commit(block, result); err != nil {
		i.fail(fmt.Errorf("committing block %d: %w", block.Number(), err))
		return err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.mu.executed = max(i.mu.executed, block.NumberU64())
	return nil
}

// hint lets others of our kind help with collecting, until the function that it returns is called.
func (i *Importer) hint(ctx context.Context, block *types.Block, parentRoot common.Hash) (stop func()) {
	if i.cfg.Hints == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		i.cfg.Hints(ctx, block, parentRoot)
	}()
	return func() { cancel(); <-done }
}

// commit makes a valid block durable: first its new state, which is worth nothing by itself,
// then block, receipts and outcome in one batch.
func (i *Importer) commit(block *types.Block, result *evm.Result) error {
	for hash, code := range result.Codes {
		if err := i.cfg.Local.PutCode(hash, code); err != nil {
			return err
		}
	}
	if err := i.cfg.Local.PutNodes(result.Nodes); err != nil {
		return err
	}
	return i.cfg.Chain.Commit(block, result.Receipts)
}

// reject remembers an invalid block and makes its status.
func (i *Importer) reject(p *pending, reason error) engine.PayloadStatusV1 {
	return i.rejectBlock(p.block, reason)
}

func (i *Importer) rejectBlock(block *types.Block, reason error) engine.PayloadStatusV1 {
	i.cfg.Chain.Reject(block, reason)
	i.metrics.imports.WithLabelValues(evm.Invalid.String()).Inc()
	i.cfg.Log.Warn("Invalid block", "number", block.Number(), "hash", block.Hash(), "err", reason)
	return invalid(i.cfg.Chain.LatestValid(block.ParentHash()), reason)
}

// ancestors finds headers for BLOCKHASH: by hash, in the chain or from peers, a whole window
// at a time because the opcode walks down from the parent.
type ancestors struct{ i *Importer }

// Held implements [Ancestors].
func (a ancestors) Held(hash common.Hash) *types.Header { return a.i.cfg.Chain.Header(hash) }

// Header implements [evm.Headers].
func (a ancestors) Header(ctx context.Context, hash common.Hash, number uint64) (*types.Header, error) {
	if header := a.i.cfg.Chain.Header(hash); header != nil {
		return header, nil
	}
	headers, err := a.i.cfg.Blocks.Headers(ctx, hash, int(min(ancestorHeaders, number+1)))
	if err != nil {
		return nil, fmt.Errorf("header %d %x: %w", number, hash, err)
	}
	if err := a.i.cfg.Chain.AddHeaders(headers); err != nil {
		return nil, err
	}
	return headers[0], nil
}
