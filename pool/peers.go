package pool

import (
	"context"
	"hash/maphash"
	"math"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
)

const (
	// knownKept is how many hashes are remembered of a peer. One that is forgotten is told again.
	knownKept = 1 << 14
	// maxTelling is how many hashes may wait to be told to a peer, of each kind; the oldest are
	// dropped (go-ethereum's value).
	maxTelling = 4096
	// maxPacket is the size in bytes at which a message of transactions or hashes is closed
	// (go-ethereum's value).
	maxPacket = 100 << 10
	// maxIncoming bounds the bytes of a peer's transactions that wait to be looked at, and
	// maxIncomingTotal those of all peers. A message of any size fits where nothing waits.
	maxIncoming      = 2 << 20
	maxIncomingTotal = 16 << 20
	// maxIncomingMessages bounds their number, and maxAnnouncements that of announcements that wait.
	maxIncomingMessages = 256
	maxAnnouncements    = 4
)

// Peer is one connection to another node; *p2p.Peer has it all.
type Peer interface {
	ID() string
	Version() uint // of eth
	Drop(reason error)
	Done() <-chan struct{}
	Exchanges
}

// Exchanges are what goes over a connection. They end with ctx or the connection.
type Exchanges interface {
	PooledTransactions(ctx context.Context, hashes []common.Hash) ([]*types.Transaction, error)
	SendTransactions(ctx context.Context, txs []*types.Transaction) error
	AnnounceTransactions(ctx context.Context, kinds []byte, sizes []uint32, hashes []common.Hash) error
}

// announcement is what a peer says that it has.
type announcement struct {
	kinds  []byte // nil over eth/66, as sizes
	sizes  []uint32
	hashes []common.Hash
}

// peer is what the pool knows of a connection.
type peer struct {
	Peer
	known    *recent
	incoming chan []*types.Transaction
	bytes    atomic.Int64  // in incoming
	signal   chan struct{} // capacity 1: there is something to tell

	// announcements are those that the fetcher cannot take: over eth/66, or while the pools are being
	// opened.
	announcements chan announcement

	mu       sync.Mutex
	send     []common.Hash // whole transactions
	announce []common.Hash
}

func newPeer(p Peer) *peer {
	return &peer{
		Peer: p, known: newRecent(knownKept), signal: make(chan struct{}, 1),
		incoming: make(chan []*types.Transaction, maxIncomingMessages), announcements: make(chan announcement, maxAnnouncements),
	}
}

// tell queues hashes to be sent whole or announced; it returns how many others were dropped.
func (p *peer) tell(send, announce []common.Hash) (dropped int) {
	p.mu.Lock()
	p.send, p.announce = append(p.send, send...), append(p.announce, announce...)
	for _, queue := range []*[]common.Hash{&p.send, &p.announce} {
		if over := len(*queue) - maxTelling; over > 0 {
			*queue = slices.Delete(*queue, 0, over)
			dropped += over
		}
	}
	p.mu.Unlock()
	select {
	case p.signal <- struct{}{}:
	default: // it is about to look
	}
	return dropped
}

// told takes all that is to be told.
func (p *peer) told() (send, announce []common.Hash) {
	p.mu.Lock()
	defer p.mu.Unlock()
	send, announce = p.send, p.announce
	p.send, p.announce = nil, nil
	return send, announce
}

// peerSet is the peers that joined. Their goroutines belong to run.
type peerSet struct {
	bytes atomic.Int64 // in incoming, of all peers

	mu      sync.Mutex
	members map[string]*peer
	start   func(*peer) // nil before and after run
	tasks   sync.WaitGroup
	serve   func(context.Context, *peer) // what is run for each peer until it is gone
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

// leave forgets a peer; false if it was not there.
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

// choice picks, for each sender, those peers that get its transactions whole: always the same ones
// for one sender, so that its nonces arrive in order, and others for another.
type choice struct{ seed maphash.Seed }

// of returns the square root of peers, rounded up, as go-ethereum does.
func (c choice) of(peers []*peer, sender common.Address) map[*peer]bool {
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
