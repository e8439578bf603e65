// SPDX-License-Identifier: LGPL-3.0-or-later

package bench

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/ethereum/go-ethereum/common"

	"github.com/sunbeam-eth/sunbeam/beamsync/fetch"
	"github.com/sunbeam-eth/sunbeam/internal/witnessfile"
	"github.com/sunbeam-eth/sunbeam/trie"
)

// source requests state from the peers, unless the witness has a hole there: no peer in this
// network has that node, so waiting for it would measure nothing. It records that the witness is
// incomplete, which a network with the whole state would not show.
type source struct {
	*fetch.Session
	file   *witnessfile.File
	single bool     // request single nodes, not whole paths
	trips  *tripLog // records what is requested; may be nil
	hole   atomic.Bool

	mu        sync.Mutex
	requested map[stateKey]bool
}

// stateKey is an account (no owner) or a slot, hashed.
type stateKey struct{ owner, key common.Hash }

// note records what is requested.
func (s *source) note(faults []trie.Fault, codes []common.Hash) {
	s.trips.noteMany(faults, codes)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.requested == nil {
		s.requested = make(map[stateKey]bool)
	}
	for _, fault := range faults {
		if fault.Key != nil {
			s.requested[stateKey{fault.Owner, keyHash(fault.Key)}] = true
			for _, key := range fault.StorageKeys {
				s.requested[stateKey{fault.Account(), key}] = true
			}
		}
	}
}

// keys counts the keys that were requested, and those among them that the block does not read.
func (s *source) keys(read map[stateKey]bool) (requested, unused int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key := range s.requested {
		if !read[key] {
			unused++
		}
	}
	return len(s.requested), unused
}

// FetchNode implements trie.Source.
func (s *source) FetchNode(ctx context.Context, fault trie.Fault) ([]byte, error) {
	if _, found := s.file.Nodes[fault.Hash]; !found {
		s.hole.Store(true)
		return nil, fmt.Errorf("the witness file lacks node %x, which the block reads: %w", fault.Hash, trie.ErrUnavailable)
	}
	s.note([]trie.Fault{fault}, nil)
	if s.single {
		fault.Key = nil
	}
	return s.Session.FetchNode(ctx, fault)
}

// FetchCode implements trie.Source.
func (s *source) FetchCode(ctx context.Context, hash common.Hash) ([]byte, error) {
	if _, found := s.file.Codes[hash]; !found {
		s.hole.Store(true)
		return nil, fmt.Errorf("the witness file lacks code %x, which the block reads: %w", hash, trie.ErrUnavailable)
	}
	s.note(nil, []common.Hash{hash})
	return s.Session.FetchCode(ctx, hash)
}

// FetchMany is Session's.
func (s *source) FetchMany(ctx context.Context, faults []trie.Fault, codes []common.Hash) error {
	s.note(faults, codes)
	return s.Session.FetchMany(ctx, faults, codes)
}

// Hint is Session's.
func (s *source) Hint(ctx context.Context, faults []trie.Fault, codes []common.Hash, arrived func()) error {
	s.note(faults, codes)
	return s.Session.Hint(ctx, faults, codes, arrived)
}
