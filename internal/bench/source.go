package bench

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/ethereum/go-ethereum/common"

	"github.com/sunbeam-eth/sunbeam/beamsync"
	"github.com/sunbeam-eth/sunbeam/internal/witness"
	"github.com/sunbeam-eth/sunbeam/trie"
)

// source asks the peers, unless the witness has a hole there: nobody in this network will ever have
// that node, so waiting for it would say nothing. It tells what a network with the whole state would
// not: that the file is to blame.
type source struct {
	*beamsync.Session
	file   *witness.File
	single bool     // ask for single nodes, not for what lies below them
	trips  *tripLog // takes note of what is asked for; may be nil
	hole   atomic.Bool
}

// FetchNode implements trie.Source.
func (s *source) FetchNode(ctx context.Context, fault trie.Fault) ([]byte, error) {
	if _, held := s.file.Nodes[fault.Hash]; !held {
		s.hole.Store(true)
		return nil, fmt.Errorf("the witness file lacks node %x, which the block reads: %w", fault.Hash, trie.ErrUnavailable)
	}
	s.trips.noteMany([]trie.Fault{fault}, nil)
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
	s.trips.noteMany(nil, []common.Hash{hash})
	return s.Session.FetchCode(ctx, hash)
}

// FetchMany is Session's.
func (s *source) FetchMany(ctx context.Context, faults []trie.Fault, codes []common.Hash) error {
	s.trips.noteMany(faults, codes)
	return s.Session.FetchMany(ctx, faults, codes)
}

// Hint is Session's.
func (s *source) Hint(ctx context.Context, faults []trie.Fault, codes []common.Hash) error {
	s.trips.noteMany(faults, codes)
	return s.Session.Hint(ctx, faults, codes)
}
