package importer

import (
	"context"
	"sync"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/lru"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/core/types/bal"
	"github.com/ethereum/go-ethereum/rlp"
	"golang.org/x/sync/errgroup"

	"github.com/sunbeam-eth/sunbeam/evm"
)

// lists gets the access lists (EIP-7928) of blocks that come without, by eth/71: of those that were
// fetched themselves, and of payloads older than their version. It never holds anything up, and what it
// gets is checked against the hash in the block's header before it is used.
type lists struct {
	blocks Blocks
	ready  chan struct{} // holds a token when some are wanted

	mu     sync.Mutex
	wanted []*listArrival                          // that nobody asks for yet
	known  lru.BasicLRU[common.Hash, *listArrival] // by hash of the block
}

// listArrival is one list on its way.
type listArrival struct {
	header  *types.Header // of the block
	done    chan struct{} // closed when encoded is here, or nobody has it
	encoded rlp.RawValue  // nil: nobody has it
}

func newLists(blocks Blocks) *lists {
	return &lists{
		blocks: blocks, ready: make(chan struct{}, 1),
		known: lru.NewBasicLRU[common.Hash, *listArrival](2 * maxPendingBlocks),
	}
}

// want asks for the lists that these headers commit to, unless they are known or asked for. What is
// wanted together is asked for together.
func (l *lists) want(headers ...*types.Header) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, header := range headers {
		if header.BlockAccessListHash != nil {
			l.wantLocked(header)
		}
	}
	l.tellLocked()
}

// of returns the arrival of the list that a header commits to.
func (l *lists) of(header *types.Header) *listArrival {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.tellLocked()
	return l.wantLocked(header)
}

// wantLocked returns what is known of a list, or will be.
func (l *lists) wantLocked(header *types.Header) *listArrival {
	if arrival, known := l.known.Get(header.Hash()); known {
		return arrival
	}
	arrival := &listArrival{header: header, done: make(chan struct{})}
	l.known.Add(header.Hash(), arrival)
	l.wanted = append(l.wanted, arrival)
	return arrival
}

// tellLocked wakes run if there is something to ask for.
func (l *lists) tellLocked() {
	if len(l.wanted) == 0 {
		return
	}
	select {
	case l.ready <- struct{}{}:
	default:
	}
}

// run asks for what is wanted until ctx ends.
func (l *lists) run(ctx context.Context) {
	var asking errgroup.Group
	defer func() { _ = asking.Wait() }()
	for {
		select {
		case <-l.ready:
		case <-ctx.Done():
			return
		}
		l.mu.Lock()
		wanted := l.wanted
		l.wanted = nil
		l.mu.Unlock()
		asking.Go(func() error {
			l.fetch(ctx, wanted)
			return nil
		})
	}
}

// fetch asks for lists, all together.
func (l *lists) fetch(ctx context.Context, wanted []*listArrival) {
	headers := make([]*types.Header, len(wanted))
	for n, arrival := range wanted {
		headers[n] = arrival.header
	}
	found, err := l.blocks.AccessLists(ctx, headers)
	if err != nil || len(found) != len(headers) {
		found = make([]rlp.RawValue, len(headers)) // done without, then
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for n, arrival := range wanted {
		if arrival.encoded = found[n]; arrival.encoded == nil {
			l.known.Remove(arrival.header.Hash()) // to be asked for again, should the block be
		}
		close(arrival.done)
	}
}

// attach returns the block with the list that came for it, nil if that is none or not its own.
func (a *listArrival) attach(block *types.Block) *types.Block {
	var list bal.BlockAccessList
	if len(a.encoded) == 0 || rlp.DecodeBytes(a.encoded, &list) != nil {
		return nil
	}
	listed := block.WithAccessListUnsafe(&list)
	if !evm.HasAccessList(listed) || list.Validate(block.GasLimit(), len(block.Transactions())) != nil {
		return nil // the execution will say what is wrong with the block, if it is the block
	}
	return listed
}
