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

// source asks the peers, unless the witness has a hole there: nobody in this network will ever have
// that node, so waiting for it would say nothing. It tells what a network with the whole state would
// not: that the file is to blame.
type source struct {
	*fetch.Session
	file   *witnessfile.File
	single bool     // ask for single nodes, not for what lies below them
	trips  *tripLog // takes note of what is asked for; may be nil
	hole   atomic.Bool

	mu    sync.Mutex
	asked map[stateKey]bool
}

// stateKey is an account (no owner) or a slot, hashed.
type stateKey struct{ owner, key common.Hash }

// note takes note of what is asked for.
func (s *source) note(faults []trie.Fault, codes []common.Hash) {
	s.trips.noteMany(faults, codes)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.asked == nil {
		s.asked = make(map[stateKey]bool)
	}
	for _, fault := range faults {
		if fault.Key != nil {
			s.asked[stateKey{fault.Owner, keyHash(fault.Key)}] = true
			for _, key := range fault.StorageKeys {
				s.asked[stateKey{fault.Account(), key}] = true
			}
		}
	}
}

// keys counts the keys that were asked for, and those among them that the block does not read.
func (s *source) keys(read map[stateKey]bool) (asked, vain int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key := range s.asked {
		if !read[key] {
			vain++
		}
	}
	return len(s.asked), vain
}

// FetchNode implements trie.Source.
func (s *source) FetchNode(ctx context.Context, fault trie.Fault) ([]byte, error) {
	if _, held := s.file.Nodes[fault.Hash]; !held {
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
	if _, held := s.file.Codes[hash]; !held {
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
func (s *source) Hint(ctx context.Context, faults []trie.Fault, codes []common.Hash, news func()) error {
	s.note(faults, codes)
	return s.Session.Hint(ctx, faults, codes, news)
}
