package beamsync

import (
	"context"
	"runtime"
	"sync"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
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

// wish is something asked for.
type wish struct {
	done chan struct{} // closed when it is here, or cannot be had
}

// wishes is what one run asks for.
type wishes struct {
	faults []trie.Fault
	codes  []common.Hash
	below  *ancestor // the highest header asked for of those not held
}

type ancestor struct {
	hash   common.Hash
	number uint64
}

// collection is one block's way through the rounds.
type collection struct {
	*Collector
	block   *types.Block
	parent  *types.Header
	headers Ancestors
	session Hinter
	senders []common.Address
	cores   chan struct{} // a token for each run at a time

	mu    sync.Mutex
	asked map[common.Hash]*wish // none is sent twice
}

func newCollection(c *Collector, block *types.Block, parent *types.Header, headers Ancestors, session Hinter) *collection {
	return &collection{
		Collector: c, block: block, parent: parent, headers: headers, session: session,
		senders: c.spec.Senders(block),
		cores:   make(chan struct{}, runtime.GOMAXPROCS(0)),
		asked:   make(map[common.Hash]*wish),
	}
}

// speculate runs the groups and the block until they miss nothing that can be had.
func (r *collection) speculate(ctx context.Context) error {
	groups := r.groups()
	running, ctx := errgroup.WithContext(ctx)
	ended := make(chan struct{}, len(groups))
	for _, group := range groups {
		running.Go(func() error {
			defer func() { ended <- struct{}{} }()
			return r.repeat(ctx, func(spec evm.Speculation) { r.spec.SpeculateGroup(ctx, spec, group) })
		})
	}
	running.Go(func() error {
		block := func(spec evm.Speculation) { r.spec.SpeculateBlock(ctx, spec) }
		for left, early := len(groups), 0; ; {
			if left == 0 || left*stragglers <= len(groups) && early < maxEarlyRuns {
				early++
				if err := r.repeat(ctx, block); err != nil {
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

// repeat runs something in all manners, gets what it missed, and does it again.
func (r *collection) repeat(ctx context.Context, run func(evm.Speculation)) error {
	for range maxRounds {
		var missed wishes
		for _, manner := range []evm.Manner{evm.Marked, evm.Zeroed} {
			r.cores <- struct{}{}
			spec := r.speculation(manner, &missed)
			run(spec)
			<-r.cores
			faults, codes := spec.Guess.Missing()
			missed.faults = append(missed.faults, faults...)
			missed.codes = append(missed.codes, codes...)
			if !spec.Guess.Missed() {
				break
			}
		}
		if more, err := r.get(ctx, missed); err != nil || !more {
			return err
		}
	}
	return nil
}

// speculation begins one run on what is held now.
func (r *collection) speculation(manner evm.Manner, missed *wishes) evm.Speculation {
	return evm.Speculation{
		Block: r.block, Parent: r.parent, Guess: trie.OpenGuess(r.parent.Root, r.store), Manner: manner,
		Held: func(hash common.Hash, number uint64) *types.Header {
			header := r.headers.Held(hash)
			if header == nil && missed.below == nil {
				missed.below = &ancestor{hash, number}
			}
			return header
		},
	}
}

// fetch gets wishes and waits for them.
func (r *collection) fetch(ctx context.Context, w wishes) error {
	_, err := r.get(ctx, w)
	return err
}

// get asks for what nobody asked for before, and waits for that and for what others asked for.
// It says whether there was anything to wait for.
func (r *collection) get(ctx context.Context, w wishes) (more bool, err error) {
	var (
		fresh   wishes
		mine    = &wish{done: make(chan struct{})}
		waiting = make(map[*wish]bool)
	)
	ask := func(id common.Hash) bool {
		if asked := r.asked[id]; asked != nil {
			if asked != mine {
				waiting[asked] = true
			}
			return false
		}
		r.asked[id] = mine
		return true
	}
	r.mu.Lock()
	for _, fault := range spread(w.faults) {
		id := crypto.Keccak256Hash(fault.Hash[:], fault.Owner[:], fault.Key)
		send := ask(id)
		var riders []common.Hash
		for _, key := range fault.Riders {
			if ask(crypto.Keccak256Hash(id[:], key[:])) {
				riders = append(riders, key)
			}
		}
		if send || len(riders) > 0 {
			fault.Riders = riders
			fresh.faults = append(fresh.faults, fault)
		}
	}
	for _, hash := range w.codes {
		if ask(hash) {
			fresh.codes = append(fresh.codes, hash)
		}
	}
	if w.below != nil && ask(w.below.hash) {
		fresh.below = w.below
	}
	r.mu.Unlock()

	err = r.send(ctx, fresh)
	close(mine.done)
	more = len(fresh.faults)+len(fresh.codes) > 0 || fresh.below != nil
	for other := range waiting {
		select {
		case <-other.done:
			continue
		default:
		}
		more = true
		select {
		case <-other.done:
		case <-ctx.Done():
			return false, context.Cause(ctx)
		}
	}
	return more, err
}

// send fetches wishes, nodes and codes beside a header.
func (r *collection) send(ctx context.Context, w wishes) error {
	var both errgroup.Group
	if w.below != nil {
		both.Go(func() error {
			_, _ = r.headers.Header(ctx, w.below.hash, w.below.number) // the execution will say
			return nil
		})
	}
	if len(w.faults)+len(w.codes) > 0 {
		both.Go(func() error { return r.session.Hint(ctx, w.faults, w.codes) })
	}
	return both.Wait()
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
