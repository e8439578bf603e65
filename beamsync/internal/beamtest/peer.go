// SPDX-License-Identifier: LGPL-3.0-or-later

package beamtest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/sunbeam-eth/sunbeam/beamsync/peer"
)

const RTT = 100 * time.Millisecond

// fakePeer serves a bag and a chain over a link with a delay, and misbehaves on demand.
type FakePeer struct {
	Name    string
	Rtt     time.Duration
	Lookups int // limit per request, 0: 1024
	Nodes   func(root common.Hash, sets [][][]byte, maxLookups int) [][]byte
	Codes   map[common.Hash][]byte
	Chain   *FakeChain
	NoState bool
	// mangle, if set, changes the n-th state reply, n from 0; nil means an empty one.
	Mangle func(n int, blobs [][]byte) ([][]byte, error)
	// stall, if set, lets the n-th request wait until its context ends.
	Stall func(n int) bool
	// slow, if set, is a longer delay of the n-th request.
	Slow func(n int) time.Duration

	Mu       sync.Mutex
	requests int // of state
	Paths    []int
	Asked    int // of the chain
	Gone     chan struct{}
	head     uint64
}

func NewFakePeer(id string, rtt time.Duration) *FakePeer {
	return &FakePeer{Name: id, Rtt: rtt, Nodes: TheState().TrieNodes, Codes: TheState().Codes, Gone: make(chan struct{})}
}

func (p *FakePeer) ID() string { return p.Name }

func (p *FakePeer) ServesState() bool { return !p.NoState }

func (p *FakePeer) Head() (uint64, common.Hash) {
	p.Mu.Lock()
	defer p.Mu.Unlock()
	return p.head, common.Hash{}
}

// travel passes the time that a request takes.
func (p *FakePeer) travel(ctx context.Context, n int) error {
	rtt := p.Rtt
	if p.Slow != nil {
		rtt = max(rtt, p.Slow(n))
	}
	timer := time.NewTimer(rtt)
	defer timer.Stop()
	arrived := timer.C
	if p.Stall != nil && p.Stall(n) {
		arrived = nil
	}
	select {
	case <-arrived:
		return nil
	case <-p.Gone:
		return fmt.Errorf("peer gone: %w", net.ErrClosed)
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *FakePeer) state(ctx context.Context, items int, reply func() [][]byte) ([][]byte, error) {
	p.Mu.Lock()
	n := p.requests
	p.requests++
	p.Paths = append(p.Paths, items)
	p.Mu.Unlock()
	if p.NoState {
		return nil, errors.ErrUnsupported
	}
	if err := p.travel(ctx, n); err != nil {
		return nil, err
	}
	blobs := reply()
	if p.Mangle != nil {
		return p.Mangle(n, blobs)
	}
	return blobs, nil
}

func (p *FakePeer) TrieNodes(ctx context.Context, root common.Hash, sets [][][]byte, _ uint64) ([][]byte, error) {
	items := 0
	for _, set := range sets {
		if len(set) == 0 {
			return nil, errors.New("empty path set")
		}
		items += max(len(set)-1, 1)
	}
	limit := p.Lookups
	if limit == 0 {
		limit = 1024
	}
	return p.state(ctx, items, func() [][]byte { return p.Nodes(root, sets, limit) })
}

func (p *FakePeer) ByteCodes(ctx context.Context, hashes []common.Hash, _ uint64) ([][]byte, error) {
	return p.state(ctx, len(hashes), func() (codes [][]byte) {
		for _, h := range hashes {
			if code, ok := p.Codes[h]; ok {
				codes = append(codes, code)
			}
		}
		return codes
	})
}

func (p *FakePeer) Served() int {
	p.Mu.Lock()
	defer p.Mu.Unlock()
	return p.requests
}

// blames collects what the fetcher says of peers.
type Blames struct {
	mu   sync.Mutex
	list []string
}

func (b *Blames) Blame(peer string, reason peer.Blame, _ string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.list = append(b.list, peer+":"+reason.String())
}

func (b *Blames) All() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.list)
}
