// SPDX-License-Identifier: LGPL-3.0-or-later

package pool

import (
	"context"
	"hash/maphash"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto/kzg4844"
	"golang.org/x/time/rate"
)

const (
	// maxKnown is the number of hashes that are remembered per peer. A forgotten one may be sent again.
	maxKnown = 1 << 14
	// maxQueued is the number of hashes that may wait to be sent to a peer, of each kind; the oldest
	// are dropped (go-ethereum's value).
	maxQueued = 4096
	// maxPacket is the size in bytes at which a message of transactions or hashes is closed
	// (go-ethereum's value).
	maxPacket = 100 << 10
	// maxIncoming bounds the bytes of a peer's transactions that wait to be added, and
	// maxIncomingTotal those of all peers. A message of any size fits into an empty queue.
	maxIncoming      = 2 << 20
	maxIncomingTotal = 16 << 20
	// maxIncomingMessages bounds their number, and maxAnnouncements that of announcements that wait.
	maxIncomingMessages = 256
	maxAnnouncements    = 4

	// The hashes that peers may announce at once and per second, each one and all together. The fetcher keeps some 1 KB for each
	// until it has asked for it in vain. A new peer announces its pool, up to 4096 hashes; the chain takes some 20 transactions a second.
	announcedBurst, announcedRate         = 4096, 100
	announcedBurstTotal, announcedRateAll = 32768, 1000
)

// Peer is one connection to another node; *p2p.Peer implements it.
type Peer interface {
	ID() string
	Version() uint // of eth
	Drop(reason error)
	Done() <-chan struct{}
	Exchanges
}

// Exchanges are the messages of a connection. They end with ctx or the connection.
type Exchanges interface {
	PooledTransactions(ctx context.Context, hashes []common.Hash) ([]*types.Transaction, error)
	SendTransactions(ctx context.Context, txs []*types.Transaction) error
	AnnounceTransactions(ctx context.Context, kinds []byte, sizes []uint32, hashes []common.Hash, columns types.CustodyBitmap) error
	// Cells requests the cells of blobs in some columns (eth/72). It returns those of some of the transactions, blob
	// after blob.
	Cells(ctx context.Context, hashes []common.Hash, columns types.CustodyBitmap) (found []common.Hash, cells [][]kzg4844.Cell, err error)
}

// announcement is the list of transactions that a peer announced.
type announcement struct {
	kinds   []byte // nil over eth/66, as sizes
	sizes   []uint32
	hashes  []common.Hash
	columns types.CustodyBitmap // of which the peer has the cells of all announced blobs; none before eth/72
}

// first is the announcement of the first n.
func (a announcement) first(n int) announcement {
	a.hashes = a.hashes[:n]
	if a.kinds != nil {
		a.kinds, a.sizes = a.kinds[:n], a.sizes[:n]
	}
	return a
}

// peer is the state of one connection.
type peer struct {
	Peer
	known    *recent
	incoming chan []*types.Transaction
	bytes    atomic.Int64  // in incoming
	signal   chan struct{} // capacity 1: something is queued

	// announcements are those that the fetcher cannot take: over eth/66, or while the pools open.
	announcements chan announcement
	announced     *rate.Limiter // hashes

	mu       sync.Mutex
	send     []common.Hash // whole transactions
	announce []common.Hash
}

func newPeer(p Peer) *peer {
	return &peer{
		Peer: p, known: newRecent(maxKnown), signal: make(chan struct{}, 1),
		incoming: make(chan []*types.Transaction, maxIncomingMessages), announcements: make(chan announcement, maxAnnouncements),
		announced: rate.NewLimiter(announcedRate, announcedBurst),
	}
}

// enqueue queues hashes to be sent in full or announced. It returns how many older ones were dropped.
func (p *peer) enqueue(send, announce []common.Hash) (dropped int) {
	p.mu.Lock()
	p.send, p.announce = append(p.send, send...), append(p.announce, announce...)
	for _, queue := range []*[]common.Hash{&p.send, &p.announce} {
		if over := len(*queue) - maxQueued; over > 0 {
			*queue = slices.Delete(*queue, 0, over)
			dropped += over
		}
	}
	p.mu.Unlock()
	select {
	case p.signal <- struct{}{}:
	default: // already signalled
	}
	return dropped
}

// drain takes all queued hashes.
func (p *peer) drain() (send, announce []common.Hash) {
	p.mu.Lock()
	defer p.mu.Unlock()
	send, announce = p.send, p.announce
	p.send, p.announce = nil, nil
	return send, announce
}

// peerSet is the set of connected peers. Run owns their goroutines.
type peerSet struct {
	bytes atomic.Int64 // in incoming, of all peers

	mu        sync.Mutex
	announced *rate.Limiter // hashes, by all peers; nil before the first one
	members   map[string]*peer
	start     func(*peer) // nil before and after run
	tasks     sync.WaitGroup
	serve     func(context.Context, *peer) // runs for each peer until it disconnects
}

// run serves the peers until ctx ends.
func (s *peerSet) run(ctx context.Context) error {
	s.mu.Lock()
	s.start = func(p *peer) { s.tasks.Go(func() { s.serve(ctx, p) }) }
	for _, p := range s.members {
		s.start(p)
	}
	s.mu.Unlock()
	<-ctx.Done()
	s.mu.Lock()
	s.start = nil
	s.mu.Unlock()
	s.tasks.Wait()
	return nil
}

// admit says how many of n hashes that a peer announces are looked at.
func (s *peerSet) admit(p *peer, n int, now time.Time) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.announced == nil {
		s.announced = rate.NewLimiter(announcedRateAll, announcedBurstTotal)
	}
	n = min(n, int(p.announced.TokensAt(now)), int(s.announced.TokensAt(now)))
	p.announced.AllowN(now, n)
	s.announced.AllowN(now, n)
	return n
}

func (s *peerSet) join(p *peer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.members == nil {
		s.members = make(map[string]*peer)
	}
	s.members[p.ID()] = p
	if s.start != nil {
		s.start(p)
	}
}

// leave removes a peer. It returns false if it was not in the set.
func (s *peerSet) leave(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, was := s.members[id]
	delete(s.members, id)
	return was
}

func (s *peerSet) get(id string) *peer {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.members[id]
}

func (s *peerSet) all() []*peer {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]*peer, 0, len(s.members))
	for _, p := range s.members {
		list = append(list, p)
	}
	return list
}

// fullRecipients selects the peers that get the transactions of a sender in full: always the same ones for one
// sender, so that its nonces arrive in order, and others for another sender.
type fullRecipients struct{ seed maphash.Seed }

// pick returns the square root of the number of peers, rounded up, as go-ethereum does.
func (c fullRecipients) pick(peers []*peer, sender common.Address) map[*peer]bool {
	score := make(map[*peer]uint64, len(peers))
	for _, p := range peers {
		score[p] = maphash.Comparable(c.seed, [2]string{p.ID(), string(sender[:])})
	}
	sorted := slices.SortedFunc(slices.Values(peers), func(a, b *peer) int {
		switch {
		case score[a] < score[b]:
			return -1
		case score[a] > score[b]:
			return 1
		}
		return 0
	})
	chosen := make(map[*peer]bool)
	for _, p := range sorted[:int(math.Ceil(math.Sqrt(float64(len(sorted)))))] {
		chosen[p] = true
	}
	return chosen
}
