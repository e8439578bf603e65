// SPDX-License-Identifier: LGPL-3.0-or-later

package prefetch

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"golang.org/x/sync/errgroup"

	"github.com/sunbeam-eth/sunbeam/trie"
)

const (
	// batchWindow is how long a batch is open before it is sent, so that what many runs miss at
	// the same time goes out together, each node once.
	batchWindow = time.Millisecond
	// debounce is how long a round waits after the first arrival before it looks at the store:
	// replies come in bursts, and each run costs computing.
	debounce = time.Millisecond
)

// batch is what goes out at once.
type batch struct {
	// Guarded by blockPrefetch.mu until the batch is sent.
	contents  missing             // what is sent; that which was predicted is among the rest
	index     map[common.Hash]int // of a fault in contents
	scheduled bool                // the batch window has begun

	mu          sync.Mutex
	done        bool // nothing more will arrive
	subscribers []chan<- struct{}
}

// subscribe makes the batch wake a round on arrivals. It returns false if the batch is done.
func (p *batch) subscribe(arrived chan<- struct{}) (open bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.done && !slices.Contains(p.subscribers, arrived) {
		p.subscribers = append(p.subscribers, arrived)
	}
	return !p.done
}

// notify wakes the subscribers.
func (p *batch) notify(done bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done = p.done || done
	for _, arrived := range p.subscribers {
		select {
		case arrived <- struct{}{}:
		default:
		}
	}
}

// request puts what was not requested before into the open batch. It returns the batches that
// hold what is required, sent or not.
func (b *blockPrefetch) request(ctx context.Context, m missing) (waits []*batch) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.open == nil {
		b.open = &batch{index: make(map[common.Hash]int)}
	}
	for _, fault := range m.faults {
		b.addFaultLocked(fault, false, &waits)
	}
	for _, fault := range m.predicted {
		b.addFaultLocked(fault, true, nil)
	}
	for _, hash := range m.codes {
		if b.claimLocked(hash, &waits) {
			b.open.contents.codes = append(b.open.contents.codes, hash)
		}
	}
	for _, hash := range m.predictedCodes {
		if b.claimLocked(hash, nil) {
			b.open.contents.codes = append(b.open.contents.codes, hash)
		}
	}
	if m.header != nil && b.claimLocked(m.header.hash, &waits) {
		b.open.contents.header = m.header
	}
	if open := b.open; !open.scheduled && open.contents.any() {
		open.scheduled = true
		b.sends.Go(func() error { return b.sendAfterWindow(ctx, open) })
	}
	return waits
}

// addFaultLocked puts a fault into the open batch, with those of its storage keys that were not
// requested before, unless all of it was.
func (b *blockPrefetch) addFaultLocked(fault trie.Fault, predicted bool, waits *[]*batch) {
	// A slot that was requested together with its account is not requested as predicted again:
	// the peer finds it by account and key.
	if fault.Owner != (common.Hash{}) && fault.Key != nil {
		if first := b.claimLocked(crypto.Keccak256Hash(fault.Owner[:], fault.Key), nil); !first && predicted {
			return
		}
	}
	id := crypto.Keccak256Hash(fault.Hash[:], fault.Owner[:], fault.Key)
	isNew := b.claimLocked(id, waits)
	var storageKeys []common.Hash
	if len(fault.StorageKeys) > 0 {
		owner := fault.Account()
		for _, key := range fault.StorageKeys {
			if b.claimLocked(crypto.Keccak256Hash(owner[:], trie.Nibbles(key)), nil) {
				storageKeys = append(storageKeys, key)
			}
		}
	}
	if !isNew && len(storageKeys) == 0 {
		return
	}
	contents := &b.open.contents
	if at, there := b.open.index[id]; there {
		contents.faults[at].StorageKeys = append(contents.faults[at].StorageKeys, storageKeys...)
		return
	}
	b.open.index[id] = len(contents.faults)
	fault.StorageKeys = storageKeys
	contents.faults = append(contents.faults, fault)
}

// claimLocked says whether something was not requested before, and assigns it to the open batch
// then. It adds the batch that it belongs to to waits, unless that is nil.
func (b *blockPrefetch) claimLocked(id common.Hash, waits *[]*batch) (first bool) {
	in, requested := b.requested[id]
	if !requested {
		in = b.open
		b.requested[id] = in
	}
	if waits != nil && !slices.Contains(*waits, in) {
		*waits = append(*waits, in)
	}
	return !requested
}

// sendAfterWindow waits for the end of the batch window, closes the batch and sends it. It is no
// error that ctx ends: then no run waits for the batch any more.
func (b *blockPrefetch) sendAfterWindow(ctx context.Context, p *batch) error {
	defer p.notify(true)
	time.Sleep(batchWindow)
	b.mu.Lock()
	b.open = nil
	b.mu.Unlock()
	if err := b.send(ctx, p.contents, func() { p.notify(false) }); ctx.Err() == nil {
		return err
	}
	return nil
}

// send fetches nodes and codes, and at the same time a header.
func (b *blockPrefetch) send(ctx context.Context, m missing, arrived func()) error {
	var both errgroup.Group
	if m.header != nil {
		both.Go(func() error {
			_, _ = b.headers.Header(ctx, m.header.hash, m.header.number) // if it fails, the execution finds out
			arrived()
			return nil
		})
	}
	if len(m.faults)+len(m.codes) > 0 {
		both.Go(func() error { return b.hinter.Hint(ctx, splitStorageKeys(m.faults), m.codes, arrived) })
	}
	return both.Wait()
}

// fetch requests what is missing and waits for all that is required of it. It says whether any of
// that arrived.
func (b *blockPrefetch) fetch(ctx context.Context, m missing) (some bool, err error) {
	return b.await(ctx, m, b.request(ctx, m), make(chan struct{}, 1), false)
}

// await waits until some of what a round requires is in the store, or none of it will arrive; if
// it is not eager, until all of it has arrived that will.
func (b *blockPrefetch) await(ctx context.Context, m missing, waits []*batch, arrived chan struct{}, eager bool) (some bool, err error) {
	for {
		waits = slices.DeleteFunc(waits, func(p *batch) bool { return !p.subscribe(arrived) })
		if eager || len(waits) == 0 {
			if some, err := b.hasAny(m, len(waits) == 0); some || err != nil || len(waits) == 0 {
				return some, err
			}
		}
		select {
		case <-arrived:
		case <-ctx.Done():
			return false, context.Cause(ctx)
		}
		time.Sleep(debounce)
		drain(arrived)
	}
}

// hasAny says whether anything of what a round requires is in the store now. Of a path to a key
// the first missing node is enough if partial is set: no more of the path will arrive then.
func (b *blockPrefetch) hasAny(m missing, partial bool) (bool, error) {
	for _, fault := range m.faults {
		if partial {
			fault.Key = nil
		}
		if resolved, err := fault.Resolved(b.store); resolved || err != nil {
			return resolved, err
		}
	}
	for _, hash := range m.codes {
		if code, err := b.store.Code(hash); err != nil || len(code) > 0 {
			return err == nil, err
		}
	}
	return m.header != nil && b.headers.LocalHeader(m.header.hash) != nil, nil
}
