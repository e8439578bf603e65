// SPDX-License-Identifier: LGPL-3.0-or-later

package bench

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ethereum/go-ethereum/common"
	gethp2p "github.com/ethereum/go-ethereum/p2p"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/sunbeam-eth/sunbeam/beamsync/fetch"
	"github.com/sunbeam-eth/sunbeam/beamsync/peer"
	"github.com/sunbeam-eth/sunbeam/evm"
	"github.com/sunbeam-eth/sunbeam/internal/simnet"
	"github.com/sunbeam-eth/sunbeam/internal/witnessfile"
	"github.com/sunbeam-eth/sunbeam/p2p"
	"github.com/sunbeam-eth/sunbeam/trie"
)

// Kinds of peers in a crowd.
const (
	goodPeer     = "good"
	emptyPeer    = "empty"         // has no state at all
	slowPeer     = "slow"          // takes slowness for everything
	lyingPeer    = "lying"         // changes a byte of every node and code
	droppingPeer = "disconnecting" // hangs up when it is asked for state, and comes back

	slowness      = 5 * time.Second
	absence       = 30 * time.Second // of one that hung up: no devp2p node lets it in again sooner
	changedOffset = 7                // of the byte that an invalid peer changes
)

func badKinds() []string { return []string{emptyPeer, slowPeer, lyingPeer, droppingPeer} }

// crowd is a node among peers of all kinds, each over a link in memory. It is their judge too: an
// invalid peer is disconnected, as the node does it.
type crowd struct {
	fetcher  *fetch.Fetcher
	executor *evm.Executor
	chain    *blockChain
	store    *arrivalStore
	members  []*member
	network  uint64
	rtt      time.Duration

	counters *prometheus.Registry // of the fetcher

	current atomic.Pointer[witnessfile.File] // what those serve that serve

	mu     sync.Mutex
	blamed map[string]int
}

// member is one peer, of the present or gone for a while.
type member struct {
	id, kind string

	mu       sync.Mutex
	hangUp   func()
	snap     *simnet.End // our end
	requests int         // over connections that have ended
}

func newCrowd(opts PeersOptions, files []*witnessfile.File) *crowd {
	c := &crowd{
		executor: evm.NewExecutor(files[0].Config), chain: newBlockChain(files...), store: new(arrivalStore),
		network: files[0].ChainID, rtt: opts.RTT, blamed: make(map[string]int),
		counters: prometheus.NewRegistry(),
	}
	c.store.forget()
	c.fetcher = fetch.New(fetch.Config{Local: c.store, Book: peer.NewBook(peer.BookConfig{Blamer: c}), Registerer: c.counters})
	for n := range opts.Bad {
		kinds := badKinds()
		kind := kinds[n%len(kinds)]
		c.members = append(c.members, &member{id: fmt.Sprintf("%s %d", kind, n/len(kinds)), kind: kind})
	}
	// The good one comes last: nothing favours it.
	c.members = append(c.members, &member{id: goodPeer, kind: goodPeer})
	return c
}

// serve changes the block whose state there is.
func (c *crowd) serve(file *witnessfile.File) { c.current.Store(file) }

// join connects all, and keeps them connected until ctx ends.
func (c *crowd) join(ctx context.Context, group *errgroup.Group) {
	for _, m := range c.members {
		group.Go(func() error {
			for ctx.Err() == nil {
				c.connect(ctx, m)
				if m.kind != droppingPeer {
					return nil
				}
				select {
				case <-time.After(absence):
				case <-ctx.Done():
				}
			}
			return nil
		})
	}
}

// connect runs one connection to its end.
func (c *crowd) connect(ctx context.Context, m *member) {
	link := simnet.Link{Delay: c.rtt / 2}
	ethA, ethB := simnet.Pipe(link)
	snapA, snapB := simnet.Pipe(link)
	hangUp := func() { ethA.Close(); snapA.Close() }
	m.mu.Lock()
	m.hangUp, m.snap = hangUp, snapA
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.requests += int(snapA.Sent().Messages)
		m.snap = nil
	}()
	shared := p2p.PeerConfig{NetworkID: c.network, Chain: c.chain, Log: slog.New(slog.DiscardHandler)}
	client, server := shared, shared
	client.OnJoin = func(p *p2p.Peer) {
		if m.kind == slowPeer { // from here on: it would not get through the handshake
			slow := func(msg *simnet.Message) bool { msg.Delay = slowness; return true }
			ethB.SetHook(slow)
			snapB.SetHook(slow)
		}
		c.fetcher.Join(p)
	}
	client.OnLeave = func(p *p2p.Peer) { c.fetcher.Leave(p.ID()) }
	server.State = memberState{crowd: c, member: m}
	closing := func(gethp2p.DiscReason) { hangUp() }
	a := p2p.NewPeer(p2p.Link{ID: m.id, Version: 71, Eth: ethA, Snap: snapA, Close: closing}, client)
	b := p2p.NewPeer(p2p.Link{ID: "node", Version: 71, Eth: ethB, Snap: snapB, Close: closing}, server)
	var both sync.WaitGroup
	for _, peer := range []*p2p.Peer{a, b} {
		both.Go(func() { _ = peer.Run(ctx) }) // why it ended does not matter: it did
	}
	both.Wait()
}

// Blame implements [peer.Blamer].
func (c *crowd) Blame(id string, reason peer.Blame, _ string) {
	for _, m := range c.members {
		if m.id != id {
			continue
		}
		c.mu.Lock()
		c.blamed[m.kind+" "+reason.String()]++
		c.mu.Unlock()
		if reason == peer.BlameInvalid {
			m.mu.Lock()
			m.hangUp()
			m.mu.Unlock()
		}
	}
}

func (c *crowd) blames() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	blames := make(map[string]int)
	for what, n := range c.blamed {
		blames[what] = n
	}
	return blames
}

// count adds up a counter of the fetcher over all its labels.
func (c *crowd) count(name string) (sum float64) {
	families, _ := c.counters.Gather() // of a registry of our own
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			if family.GetName() == name {
				sum += metric.GetCounter().GetValue()
			}
		}
	}
	return sum
}

// requests counts what was asked for state, by kind of peer.
func (c *crowd) requests() map[string]int {
	counts := make(map[string]int)
	for _, m := range c.members {
		m.mu.Lock()
		counts[m.kind] += m.requests
		if m.snap != nil {
			counts[m.kind] += int(m.snap.Sent().Messages)
		}
		m.mu.Unlock()
	}
	return counts
}

// memberState is the state as a member serves it.
type memberState struct {
	*trie.ServedState // of one request
	crowd             *crowd
	member            *member
}

func (s memberState) State(root common.Hash) p2p.State {
	file := s.crowd.current.Load()
	if s.member.kind == emptyPeer || root != file.PreRoot {
		return nil
	}
	if s.ServedState = trie.OpenServed(file, nil, root); s.ServedState == nil {
		return nil
	}
	return s
}

func (s memberState) TrieNode(owner common.Hash, path []byte) []byte {
	return s.answer(s.ServedState.TrieNode(owner, path))
}

func (s memberState) Code(hash common.Hash) []byte {
	return s.answer(s.crowd.current.Load().Codes[hash])
}

func (s memberState) answer(blob []byte) []byte {
	switch s.member.kind {
	case emptyPeer:
		return nil
	case lyingPeer:
		if len(blob) > changedOffset {
			blob = bytes.Clone(blob)
			blob[changedOffset] ^= 1
		}
	case droppingPeer:
		s.member.mu.Lock()
		defer s.member.mu.Unlock()
		s.member.hangUp()
		return nil
	}
	return blob
}

// arrivalStore is a store that can forget everything, and notes when something arrives.
type arrivalStore struct {
	mu    sync.Mutex
	cache *trie.Cache
	last  time.Time
	gap   time.Duration // longest between two arrivals since forget
}

var _ trie.Local = (*arrivalStore)(nil)

// forget empties the store and returns the new one behind it.
func (s *arrivalStore) forget() *trie.Cache {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cache, s.last, s.gap = trie.NewCache(cacheBytes, nil), time.Now(), 0
	return s.cache
}

func (s *arrivalStore) now() *trie.Cache {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cache
}

// arrived also returns the store behind.
func (s *arrivalStore) arrived() *trie.Cache {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	s.gap, s.last = max(s.gap, now.Sub(s.last)), now
	return s.cache
}

// stall is the longest time without arrivals until now.
func (s *arrivalStore) stall(begin time.Time) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last.Before(begin) {
		s.last = begin
	}
	return max(s.gap, time.Since(s.last))
}

func (s *arrivalStore) Node(owner common.Hash, path []byte, hash common.Hash) ([]byte, error) {
	return s.now().Node(owner, path, hash)
}

func (s *arrivalStore) Code(hash common.Hash) ([]byte, error) { return s.now().Code(hash) }

func (s *arrivalStore) PutNodes(nodes []trie.Node) error { return s.arrived().PutNodes(nodes) }

func (s *arrivalStore) PutCode(hash common.Hash, code []byte) error {
	return s.arrived().PutCode(hash, code)
}
