// SPDX-License-Identifier: LGPL-3.0-or-later

package payloadbuilder

import (
	"context"
	"sync"

	"github.com/ethereum/go-ethereum/common"

	"github.com/sunbeam-eth/sunbeam/trie"
)

// maxCachedNodes bounds the trie nodes that are kept for one payload, in bytes. A block of mainnet reads some 3 MB of them.
const maxCachedNodes = 16 << 20

// pacedState is the local part of the state for the rounds of one payload, and for the verification of their blocks. It
// keeps the trie nodes that it has read: each round reads most of them again, to execute and to compute the root.
//
// Each read waits while a block is imported. So building gives way also in the middle of a transaction, of a root and of a verification; it
// holds no lock then.
type pacedState struct {
	b   *Builder
	ctx context.Context //nolint:containedctx // of the rounds: all waiting ends with it

	mu    sync.Mutex
	nodes map[common.Hash][]byte
	bytes int
}

func newPacedState(ctx context.Context, b *Builder) *pacedState {
	return &pacedState{b: b, ctx: ctx, nodes: make(map[common.Hash][]byte)}
}

// over returns a store of the state for rounds. They end with a root, for which reads go on when ctx has ended.
func (s *pacedState) over(store trie.Store) trie.Store { return pacedStore{s, store, false} }

// forVerification returns a store whose reads fail when ctx ends: nobody needs the result then.
func (s *pacedState) forVerification(store trie.Store) trie.Store { return pacedStore{s, store, true} }

func (s *pacedState) node(hash common.Hash) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.nodes[hash]
}

func (s *pacedState) keep(hash common.Hash, blob []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bytes+len(blob) <= maxCachedNodes {
		s.nodes[hash] = blob
		s.bytes += len(blob)
	}
}

// pacedStore implements trie.Store.
type pacedStore struct {
	state *pacedState
	store trie.Store
	ends  bool // with ctx
}

// pause waits until a read may go on.
func (s pacedStore) pause() error {
	s.state.b.yield(s.state.ctx)
	if s.ends {
		return s.state.ctx.Err()
	}
	return nil
}

// Node implements trie.Store.
func (s pacedStore) Node(owner common.Hash, path []byte, hash common.Hash) ([]byte, error) {
	if err := s.pause(); err != nil {
		return nil, err
	}
	if blob := s.state.node(hash); blob != nil {
		return blob, nil
	}
	blob, err := s.store.Node(owner, path, hash)
	if err == nil && blob != nil {
		s.state.keep(hash, blob)
	}
	return blob, err
}

// Code implements trie.Store.
func (s pacedStore) Code(hash common.Hash) ([]byte, error) {
	if err := s.pause(); err != nil {
		return nil, err
	}
	return s.store.Code(hash)
}
