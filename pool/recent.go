// SPDX-License-Identifier: LGPL-3.0-or-later

package pool

import (
	"sync"

	"github.com/ethereum/go-ethereum/common"
)

// recent is a bounded set of hashes that forgets the oldest: two generations, of which the old
// one goes when the young one is full. It is safe for concurrent use.
type recent struct {
	limit int // of each generation

	mu         sync.Mutex
	young, old map[common.Hash]struct{}
}

// newRecent returns a set of at least the newest kept/2 and at most kept hashes.
func newRecent(kept int) *recent {
	return &recent{limit: kept / 2, young: make(map[common.Hash]struct{})}
}

// add adds hashes, and returns those that were not there.
func (r *recent) add(hashes ...common.Hash) (fresh []common.Hash) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, hash := range hashes {
		if r.hasLocked(hash) {
			continue
		}
		fresh = append(fresh, hash)
		if len(r.young) >= r.limit {
			r.young, r.old = make(map[common.Hash]struct{}), r.young
		}
		r.young[hash] = struct{}{}
	}
	return fresh
}

func (r *recent) has(hash common.Hash) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.hasLocked(hash)
}

func (r *recent) hasLocked(hash common.Hash) bool {
	if _, ok := r.young[hash]; ok {
		return true
	}
	_, ok := r.old[hash]
	return ok
}
