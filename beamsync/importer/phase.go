package importer

import (
	"context"
	"errors"
	"fmt"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"

	"github.com/sunbeam-eth/sunbeam/chain"
	"github.com/sunbeam-eth/sunbeam/evm"
	"github.com/sunbeam-eth/sunbeam/trie"
)

// Full is the complete states of some blocks. A block that is executed on one of them adds
// its own.
type Full interface {
	// Has says whether the state under a root is there. It may go away once 128 are newer.
	Has(root common.Hash) bool
	// Open opens it for one execution.
	Open(ctx context.Context, root common.Hash) evm.State
}

// complete is what a full node executes on.
type complete struct {
	Full
	bottom uint64 // number of the lowest block whose state was there when the process began to use it
}

// Bottom finds the lowest canonical block whose state is there, under the newest one that has one. After a
// kill, that may be far below the head: what was in memory is gone. It returns false if
// there is none: the states are of no use to this chain.
func Bottom(c *chain.Chain, full Full) (uint64, bool) {
	var bottom *types.Header
	for at := c.CurrentHeader(); at != nil; at = c.Header(at.ParentHash) {
		switch has := full.Has(at.Root) && c.Status(at.Hash()) == chain.Executed; {
		case has:
			bottom = at
		case bottom != nil:
			return bottom.Number.Uint64(), true
		}
	}
	if bottom == nil {
		return 0, false
	}
	return bottom.Number.Uint64(), true
}

// full returns what a full node executes on, nil while beaming.
func (i *Importer) full() *complete { return i.states.Load() }

// HandOver makes a beaming importer one of a full node. full has the state of the canonical block
// base; the blocks since then are executed on it while beaming goes on. Then ready is called, and
// from the next block on everything is executed on full. A block that was in work beams
// to its end, and is executed once more when its child comes.
//
// After an error the importer beams on, and may be handed over again.
func (i *Importer) HandOver(ctx context.Context, full Full, base *types.Header, ready func() error) error {
	states := &complete{Full: full, bottom: base.Number.Uint64()}
	for done := (common.Hash{}); ; {
		head := i.cfg.Chain.CurrentHeader()
		if head.Hash() == done {
			break
		}
		if err := i.catchUp(ctx, states, head.Hash(), head.Number.Uint64()); err != nil {
			return fmt.Errorf("execute the blocks from %d to %d again: %w", states.bottom+1, head.Number, err)
		}
		done = head.Hash()
	}
	if err := ready(); err != nil {
		return err
	}
	i.use(states)
	return nil
}

// use makes an importer one of a full node, or with nil a beaming one.
func (i *Importer) use(states *complete) {
	i.states.Store(states)
	if states == nil {
		i.metrics.full.Set(0)
	} else {
		i.metrics.full.Set(1)
	}
}

// Stranded receives when the chosen head cannot be executed on any state that is there: a reorg goes
// below all of them. Only beaming gets there.
func (i *Importer) Stranded() <-chan struct{} { return i.stranded }

// Beam makes the importer of a full node a beaming one again.
func (i *Importer) Beam() {
	i.use(nil)
	select {
	case <-i.stranded: // that is what it is for
	default:
	}
}

// strand notes why a block of a full node has no outcome, if it is the chosen head: others are of no
// concern.
func (i *Importer) strand(p *pending, err error) {
	i.mu.Lock()
	chosen := i.mu.choice.HeadBlockHash == p.block.Hash()
	i.mu.Unlock()
	if !chosen || !errors.Is(err, errStateGone) || i.full() == nil { // it may be beaming again by now
		return
	}
	select {
	case i.stranded <- struct{}{}:
	default:
	}
}

// restore makes the state of the head after a restart. What fails here fails again, and is told, when
// the next block comes.
func (i *Importer) restore(ctx context.Context) {
	states, head := i.full(), i.cfg.Chain.CurrentHeader()
	if states == nil || states.Has(head.Root) {
		return
	}
	i.cfg.Log.Info("The process ended without saving the newest states: making them again", "head", head.Number, "from", states.bottom)
	if err := i.catchUp(ctx, states, head.Hash(), head.Number.Uint64()); err != nil && ctx.Err() == nil {
		i.cfg.Log.Warn("State of the head not made", "number", head.Number, "err", err)
	}
}

// fullBasis is findBasis of a full node: whatever lies between a block and a state that is there is
// executed first, however much that is.
func (i *Importer) fullBasis(ctx context.Context, p *pending, states *complete) (basis, *settlement, error) {
	hash := p.block.ParentHash()
	if parent := i.lookup(hash); parent != nil {
		if settled, err := i.awaitParent(ctx, p, parent); settled != nil || err != nil {
			return basis{}, settled, err
		}
	}
	if !i.stands(states, hash) {
		p.enter("missed blocks")
		if err := i.catchUp(ctx, states, hash, p.number()-1); err != nil {
			return basis{}, nil, err
		}
	}
	return basis{parent: i.cfg.Chain.Header(hash)}, nil, nil
}

// stands says whether a block can be executed on this one at once.
func (i *Importer) stands(states *complete, hash common.Hash) bool {
	header := i.cfg.Chain.Header(hash)
	return header != nil && i.cfg.Chain.Status(hash) == chain.Executed && states.Has(header.Root)
}

// source is where an execution finds its state, and what it took from the network.
func (i *Importer) source(ctx context.Context, p *pending, base basis) (evm.State, StateSession, error) {
	states := i.full()
	if states == nil {
		session := i.cfg.Session()
		return trie.Open(ctx, base.parent.Root, i.cfg.Local, session), session, nil
	}
	// The basis may have been found while the node was beaming still.
	if hash := p.block.ParentHash(); !i.stands(states, hash) {
		p.enter("missed blocks")
		if err := i.catchUp(ctx, states, hash, p.number()-1); err != nil {
			return nil, nil, err
		}
	}
	return states.Open(ctx, base.parent.Root), nil, nil
}
