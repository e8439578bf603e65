// SPDX-License-Identifier: LGPL-3.0-or-later

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

// lists fetches the access lists (EIP-7928) of blocks that come without, by eth/71: of fetched blocks, and of
// payloads older than their version. No block waits for it. A list is checked against the hash in the block's header
// before it is used.
type lists struct {
	blocks Blocks
	ready  chan struct{} // holds a token when lists are wanted

	mu     sync.Mutex
	wanted []*listArrival                          // not requested yet
	known  lru.BasicLRU[common.Hash, *listArrival] // by hash of the block
}

// listArrival is one list, requested or received.
type listArrival struct {
	header  *types.Header // of the block
	done    chan struct{} // closed when encoded is set, or no peer has the list
	encoded rlp.RawValue  // nil: no peer has it
}

func newLists(blocks Blocks) *lists {
	return &lists{
		blocks: blocks, ready: make(chan struct{}, 1),
		known: lru.NewBasicLRU[common.Hash, *listArrival](2 * maxJobs),
	}
}

// want requests the lists that these headers commit to, unless they are known or requested. Lists that are
// wanted together are requested together.
func (l *lists) want(headers ...*types.Header) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, header := range headers {
		if header.BlockAccessListHash != nil {
			l.wantLocked(header)
		}
	}
	l.wakeLocked()
}

// of returns the arrival of the list that a header commits to.
func (l *lists) of(header *types.Header) *listArrival {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.wakeLocked()
	return l.wantLocked(header)
}

// wantLocked returns the arrival of a list, and queues its request if there was none.
func (l *lists) wantLocked(header *types.Header) *listArrival {
	if arrival, known := l.known.Get(header.Hash()); known {
		return arrival
	}
	arrival := &listArrival{header: header, done: make(chan struct{})}
	l.known.Add(header.Hash(), arrival)
	l.wanted = append(l.wanted, arrival)
	return arrival
}

// wakeLocked wakes run if there are lists to request.
func (l *lists) wakeLocked() {
	if len(l.wanted) == 0 {
		return
	}
	select {
	case l.ready <- struct{}{}:
	default:
	}
}

// run requests wanted lists until ctx ends.
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

// fetch requests lists, all together.
func (l *lists) fetch(ctx context.Context, wanted []*listArrival) {
	headers := make([]*types.Header, len(wanted))
	for n, arrival := range wanted {
		headers[n] = arrival.header
	}
	found, err := l.blocks.AccessLists(ctx, headers)
	if err != nil || len(found) != len(headers) {
		found = make([]rlp.RawValue, len(headers)) // the blocks do without
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for n, arrival := range wanted {
		if arrival.encoded = found[n]; arrival.encoded == nil {
			l.known.Remove(arrival.header.Hash()) // requested again if the block comes again
		}
		close(arrival.done)
	}
}

// attach returns the block with the list that arrived, nil if there is none or it does not match.
func (a *listArrival) attach(block *types.Block) *types.Block {
	var list bal.BlockAccessList
	if len(a.encoded) == 0 || rlp.DecodeBytes(a.encoded, &list) != nil {
		return nil
	}
	listed := block.WithAccessListUnsafe(&list)
	if !evm.HasAccessList(listed) || list.Validate(block.GasLimit(), len(block.Transactions())) != nil {
		return nil // if the block itself is invalid, the execution shows that
	}
	return listed
}
