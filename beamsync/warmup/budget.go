// SPDX-License-Identifier: LGPL-3.0-or-later

package warmup

import (
	"errors"
	"sync"

	"github.com/sunbeam-eth/sunbeam/trie"
)

// errSpent says that the budget is spent.
var errSpent = errors.New("the budget of the warm-up is spent")

// budget is the [trie.Meter] of all that is fetched: once its bytes have arrived nothing more is requested.
type budget struct {
	metrics *metrics

	mu    sync.Mutex
	bytes uint64
	limit uint64
	spent func() // called when the limit is reached; nil: nobody waits
}

var _ trie.Meter = (*budget)(nil)

// Begin implements [trie.Meter].
func (b *budget) Begin() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.bytes >= b.limit {
		return errSpent
	}
	return nil
}

// End implements [trie.Meter].
func (b *budget) End() {}

// Fetched implements [trie.Meter].
func (b *budget) Fetched(arrived trie.FetchStats) {
	b.metrics.bytes.Add(float64(arrived.Bytes))
	b.mu.Lock()
	defer b.mu.Unlock()
	b.bytes += arrived.Bytes
	if b.bytes >= b.limit && b.spent != nil {
		b.spent()
	}
}

// onSpent sets what is called when the limit is reached.
func (b *budget) onSpent(spent func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.spent = spent
}

// used returns the bytes that arrived.
func (b *budget) used() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.bytes
}
