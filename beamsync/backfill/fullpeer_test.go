// SPDX-License-Identifier: LGPL-3.0-or-later

package backfill

import (
	"context"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"

	"github.com/sunbeam-eth/sunbeam/trie"
)

// fullPeer serves whole states as go-ethereum does, with a limited upload.
type fullPeer struct {
	states []*testState
	delay  time.Duration
	rate   int // bytes per second

	mu       sync.Mutex
	free     time.Time
	sent     map[string]int // bytes, by requester
	requests []fullRequest
}

type fullRequest struct {
	who    string
	owner  common.Hash
	origin common.Hash
	lookup bool // of nodes or codes
	at     time.Time
}

// fullLink is one node's connection to a full peer.
type fullLink struct {
	*fullPeer
	who string
}

func (p fullLink) ID() string { return "full" }

func (p fullLink) ServesState() bool { return true }

// upload waits until so many bytes are transferred.
func (p fullLink) upload(ctx context.Context, request fullRequest, size int) error {
	p.mu.Lock()
	now := time.Now()
	if p.free.Before(now) {
		p.free = now
	}
	p.free = p.free.Add(time.Duration(size) * time.Second / time.Duration(p.rate))
	wait := p.free.Sub(now) + p.delay
	p.sent[p.who] += size
	request.who, request.at = p.who, now
	p.requests = append(p.requests, request)
	p.mu.Unlock()
	select {
	case <-time.After(wait):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p fullLink) state(root common.Hash) *testState {
	for _, s := range p.states {
		if s.root == root {
			return s
		}
	}
	return nil
}

func (p fullLink) AccountLeaves(ctx context.Context, root, origin, limit common.Hash, maxBytes uint64) (keys []common.Hash, values, proof [][]byte, err error) {
	if s := p.state(root); s != nil {
		size := int(maxBytes)
		keys, values, proof = s.serve(common.Hash{}, origin, limit, &size)
	}
	return keys, values, proof, p.upload(ctx, fullRequest{origin: origin}, sizeOf([][]common.Hash{keys}, [][][]byte{values}, proof))
}

func (p fullLink) StorageLeaves(ctx context.Context, root common.Hash, accounts []common.Hash, origin, limit common.Hash, maxBytes uint64) (keys [][]common.Hash, values [][][]byte, proof [][]byte, err error) {
	size := int(maxBytes)
	for _, account := range accounts {
		s := p.state(root)
		if s == nil || size < 0 {
			break
		}
		k, v, pr := s.serve(account, origin, limit, &size)
		keys, values, proof = append(keys, k), append(values, v), pr
		if len(proof) > 0 {
			break
		}
	}
	return keys, values, proof, p.upload(ctx, fullRequest{owner: accounts[0], origin: origin}, sizeOf(keys, values, proof))
}

// stateSource is a StateSource that fetches from the full peer, and the local store of what it fetched.
type stateSource struct {
	full  fullLink
	mu    sync.Mutex
	blobs map[common.Hash][]byte
}

func (s *stateSource) FetchMany(ctx context.Context, faults []trie.Fault, codes []common.Hash) error {
	size := 0
	s.mu.Lock()
	for _, f := range faults {
		for _, state := range s.full.states {
			if blob := state.nodes[pathKey(f.Owner, f.Path)]; crypto.Keccak256Hash(blob) == f.Hash {
				s.blobs[f.Hash] = blob
				size += len(blob)
				break
			}
		}
		if s.blobs[f.Hash] == nil {
			panic("the requested node is in no state")
		}
	}
	for _, hash := range codes {
		s.blobs[hash] = s.full.states[0].codes[hash]
		size += len(s.blobs[hash])
	}
	s.mu.Unlock()
	return s.full.upload(ctx, fullRequest{lookup: true}, size)
}

func (s *stateSource) Node(_ common.Hash, _ []byte, hash common.Hash) ([]byte, error) {
	return s.Code(hash)
}

func (s *stateSource) Code(hash common.Hash) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.blobs[hash], nil
}

func (s *stateSource) PutNodes([]trie.Node) error { return nil }

func (s *stateSource) PutCode(hash common.Hash, code []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.blobs[hash] = code
	return nil
}
