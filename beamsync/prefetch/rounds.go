package prefetch

import (
	"context"
	"runtime"
	"sync"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"golang.org/x/sync/errgroup"

	"github.com/sunbeam-eth/sunbeam/evm"
	"github.com/sunbeam-eth/sunbeam/trie"
)

// maxRounds bounds how often a group, and the block, is run; what is still missing then is faulted
// in by the execution. Real mainnet blocks with nothing held took up to 40.
const maxRounds = 96

// stragglers says when the block is run as a whole beside the groups: when one in so many is not
// done yet. Waiting for the last one cost 1-9 trips on real blocks; running it with all of them
// from the beginning gained nothing more at three times the work.
const stragglers = 5

// wishes is what one run asks for.
type wishes struct {
	faults []trie.Fault
	codes  []common.Hash
	below  *ancestor // the highest header asked for of those not held

	// What it did not read but is likely to be read; it is not waited for.
	likely      []trie.Fault
	likelyCodes []common.Hash
}

func (w *wishes) add(guess *trie.PartialState) {
	faults, codes := guess.Missing()
	w.faults = append(w.faults, faults...)
	w.codes = append(w.codes, codes...)
	faults, codes = guess.Wanted()
	w.likely = append(w.likely, faults...)
	w.likelyCodes = append(w.likelyCodes, codes...)
}

// any says whether there is something to send.
func (w *wishes) any() bool { return len(w.faults)+len(w.codes) > 0 || w.below != nil }

// expect makes what is likely something to wait for.
func (w *wishes) expect() {
	w.faults, w.likely = append(w.faults, w.likely...), nil
	w.codes, w.likelyCodes = append(w.codes, w.likelyCodes...), nil
}

type ancestor struct {
	hash   common.Hash
	number uint64
}

// collection is one block's way through the rounds.
type collection struct {
	*Prefetcher
	block   *types.Block
	parent  *types.Header
	headers Ancestors
	session Hinter
	senders []common.Address
	found   *trie.LookupCache // in the parent's state
	cores   chan struct{}     // a token for each run at a time

	mu    sync.Mutex
	asked map[common.Hash]*parcel // none is sent twice
	open  *parcel                 // not sent yet; nil: none
	sends errgroup.Group          // one goroutine for each parcel
}

func newCollection(c *Prefetcher, block *types.Block, parent *types.Header, headers Ancestors, session Hinter) *collection {
	return &collection{
		Prefetcher: c, block: block, parent: parent, headers: headers, session: session,
		senders: c.spec.Senders(block),
		found:   trie.NewLookupCache(parent.Root, c.store),
		cores:   make(chan struct{}, runtime.GOMAXPROCS(0)),
		asked:   make(map[common.Hash]*parcel),
	}
}

// speculate asks for what the block names, and runs the groups and the block until they miss nothing
// that can be had.
func (r *collection) speculate(ctx context.Context) error {
	r.ask(ctx, r.namedKeys())
	groups := r.groups()
	running, ctx := errgroup.WithContext(ctx)
	ended := make(chan struct{}, len(groups))
	for _, group := range groups {
		running.Go(func() error {
			defer func() { ended <- struct{}{} }()
			return r.repeat(ctx, true, func(spec evm.Speculation) { r.spec.SpeculateGroup(ctx, spec, group) })
		})
	}
	running.Go(func() error {
		block := func(spec evm.Speculation) { r.spec.SpeculateBlock(ctx, spec) }
		for left, early := len(groups), 0; ; {
			if left == 0 || left*stragglers <= len(groups) && early < maxEarlyRuns {
				early++
				if err := r.repeat(ctx, left == 0, block); err != nil {
					return err
				}
			}
			if left == 0 {
				return nil
			}
			select {
			case <-ended:
				left -= 1 + drain(ended)
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
	})
	return running.Wait()
}

// maxEarlyRuns bounds how often the whole block is run beside the last groups: each run takes a
// core for as long as executing the block does, and blocks have up to hundreds of groups.
const maxEarlyRuns = 2

// drain takes what waits in a channel and returns how much that was.
func drain(ch <-chan struct{}) (n int) {
	for {
		select {
		case <-ch:
			n++
		default:
			return n
		}
	}
}

// repeat runs something, asks for what it missed, and does it again when some of that is here. If it is
// not eager it saves computing: it runs in one manner only, and again when all that can be had is here.
func (r *collection) repeat(ctx context.Context, eager bool, run func(evm.Speculation)) error {
	news, manners := make(chan struct{}, 1), []evm.Mode{evm.ModePlaceholder, evm.ModeZero}
	if !eager {
		manners = manners[:1]
	}
	for range maxRounds {
		var missed wishes
		for _, manner := range manners {
			r.cores <- struct{}{}
			spec := r.speculation(manner, &missed)
			run(spec)
			<-r.cores
			missed.add(spec.State)
			if !spec.State.Missed() {
				break
			}
		}
		if some, err := r.await(ctx, missed, r.ask(ctx, missed), news, eager); err != nil || !some {
			return err
		}
	}
	return nil
}

// speculation begins one run on what is held now.
func (r *collection) speculation(manner evm.Mode, missed *wishes) evm.Speculation {
	return evm.Speculation{
		Block: r.block, Parent: r.parent, State: r.found.State(), Mode: manner,
		LocalHeader: func(hash common.Hash, number uint64) *types.Header {
			header := r.headers.Held(hash)
			if header == nil && missed.below == nil {
				missed.below = &ancestor{hash, number}
			}
			return header
		},
	}
}

// fetch gets wishes and waits for all of them. It says whether any came.
func (r *collection) fetch(ctx context.Context, w wishes) (some bool, err error) {
	return r.await(ctx, w, r.ask(ctx, w), make(chan struct{}, 1), false)
}

// groups splits the transactions by sender, in order: those of one sender depend on each other,
// the others seldom do.
func (r *collection) groups() [][]int {
	var (
		place  = make(map[common.Address]int)
		groups [][]int
	)
	for i, from := range r.senders {
		n, seen := place[from]
		if !seen {
			n = len(groups)
			place[from] = n
			groups = append(groups, nil)
		}
		groups[n] = append(groups[n], i)
	}
	return groups
}
