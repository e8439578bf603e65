package pool

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/txpool"
	"github.com/ethereum/go-ethereum/core/txpool/blobpool"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/eth/fetcher"
)

const (
	// maxWhole is the largest transaction in bytes that is sent to peers unasked (go-ethereum's value).
	maxWhole = 4096
	// replyPatience is how long the reply of a peer is waited for. go-ethereum's fetcher asks others
	// after five seconds, and this one not again before it replied.
	replyPatience = 30 * time.Second
	// maxUntold is how many transactions are asked for at once whose sizes are not known.
	maxUntold = 256
)

// withBlobs is the first version of eth that announces blob transactions.
const withBlobs = 68

var errPeerLeft = errors.New("peer left")

// newFetcher makes go-ethereum's fetcher, which decides what to ask whom for, compares what came with what
// was announced, and drops those whose announcements were wrong. Its calls have no context: they get
// that of Run.
func (p *Pool) newFetcher(ctx context.Context) *fetcher.TxFetcher {
	// The buffer puts blobs together from eth/72, which is not spoken: it stays empty.
	buffer := blobpool.NewBlobBuffer(blobpool.BlobBufferFunctions{})
	add := func(txs []*types.Transaction) []error { return p.addGossip(ctx, txs) }
	fetch := func(id string, hashes []common.Hash) error { return p.fetch(ctx, id, hashes) }
	return fetcher.NewTxFetcher(nil, p.wanted, add, fetch, p.drop, nil, buffer)
}

// wanted says whether an announced transaction is worth fetching.
func (p *Pool) wanted(hash common.Hash, kind byte) error {
	if p.mined.has(hash) {
		return txpool.ErrAlreadyKnown
	}
	for _, pool := range p.open() {
		switch {
		case !pool.FilterType(kind):
		case pool.Has(hash):
			return txpool.ErrAlreadyKnown
		default:
			return nil
		}
	}
	return types.ErrTxTypeNotSupported
}

// addGossip adds transactions of a peer.
func (p *Pool) addGossip(ctx context.Context, txs []*types.Transaction) []error {
	ctx, cancel := context.WithTimeout(ctx, gossipPatience)
	defer cancel()
	return p.add(ctx, reading{states: p.cfg.Peers, slots: p.reads}, txs)
}

// fetch asks a peer for transactions and hands them to the fetcher. After an error the fetcher asks
// others, and this one not again until it announces something.
func (p *Pool) fetch(ctx context.Context, id string, hashes []common.Hash) error {
	peer := p.peers.get(id)
	if peer == nil {
		return errPeerLeft
	}
	ctx, cancel := context.WithTimeout(ctx, replyPatience)
	defer cancel()
	txs, err := peer.PooledTransactions(ctx, hashes)
	if err != nil {
		return err
	}
	peer.known.add(hashesOf(txs)...)
	return p.fetcher.Load().Enqueue(id, peer.Version(), txs, true)
}

// drop ends the connection to a peer that broke a rule.
func (p *Pool) drop(id string) {
	if peer := p.peers.get(id); peer != nil {
		peer.Drop(errors.New("transactions against the rules, or not as announced"))
	}
}

// Join takes a new connection. It does not wait.
func (p *Pool) Join(conn Peer) {
	p.peers.join(newPeer(conn))
	p.look()
}

// Leave forgets a connection.
func (p *Pool) Leave(id string) {
	if fetcher := p.fetcher.Load(); p.peers.leave(id) && fetcher != nil {
		_ = fetcher.Drop(id) // it fails when the fetcher has stopped
	}
}

// Announced takes the hashes of transactions that a peer has; all lists have the same length. sizes are
// in bytes, network encoding. Over eth/66 kinds and sizes are nil. It does not wait for the peer.
func (p *Pool) Announced(id string, kinds []byte, sizes []uint32, hashes []common.Hash) {
	peer := p.peers.get(id)
	if peer == nil || p.at.Load() == nil && !p.cfg.Ready() {
		return
	}
	peer.known.add(hashes...)
	said := announcement{kinds, sizes, hashes}
	if at := p.at.Load(); at != nil && kinds != nil {
		if p.notify(peer, said); at.blob != nil {
			return
		} // else again for those with blobs, when their pool is open
	}
	select {
	case peer.announcements <- said:
	default:
		p.metrics.dropped.WithLabelValues(droppedIncoming).Inc()
	}
}

// notify hands an announcement to the fetcher.
func (p *Pool) notify(peer *peer, said announcement) {
	_, _ = p.fetcher.Load().Notify(peer.ID(), peer.Version(), said.kinds, said.sizes, said.hashes) // it fails when the fetcher has stopped
}

// Received takes transactions that a peer sent unasked, each once and none with blobs. It does not wait.
func (p *Pool) Received(id string, txs []*types.Transaction) {
	peer := p.peers.get(id)
	if peer == nil || p.at.Load() == nil && !p.cfg.Ready() {
		return
	}
	peer.known.add(hashesOf(txs)...)
	if !p.queue(peer, txs) {
		p.metrics.dropped.WithLabelValues(droppedIncoming).Inc()
	}
}

// queue lets transactions wait to be looked at; false if too much waits already.
func (p *Pool) queue(peer *peer, txs []*types.Transaction) bool {
	size := sizeOf(txs)
	mine, all := peer.bytes.Add(size), p.peers.bytes.Add(size)
	if (mine <= maxIncoming || mine == size) && (all <= maxIncomingTotal || all == size) {
		select {
		case peer.incoming <- txs:
			return true
		default:
		}
	}
	p.done(peer, size)
	return false
}

func (p *Pool) done(peer *peer, size int64) {
	peer.bytes.Add(-size)
	p.peers.bytes.Add(-size)
}

// serve works for one peer until it is gone or ctx ends.
func (p *Pool) serve(ctx context.Context, peer *peer) {
	told := make(chan struct{})
	go func() {
		defer close(told)
		p.tellAll(ctx, peer)
	}()
	defer func() { <-told }()
	opened := p.opened
	var announcements chan announcement // nil until the pools are open
	for {
		select {
		case txs := <-peer.incoming:
			_ = p.fetcher.Load().Enqueue(peer.ID(), peer.Version(), txs, false) // it fails when the fetcher has stopped
			p.done(peer, sizeOf(txs))
		case <-opened:
			opened, announcements = nil, peer.announcements
		case said := <-announcements:
			if said.kinds != nil {
				p.notify(peer, said)
			} else if err := p.fetchUntold(ctx, peer, said.hashes); err != nil {
				p.log.Debug("Announced transactions not fetched", "peer", peer.ID(), "err", err)
			}
		case <-peer.Done():
			p.forget(peer)
			return
		case <-ctx.Done():
			p.forget(peer)
			return
		}
	}
}

// fetchUntold asks an eth/66 peer for those announced transactions that are not in the pool: go-ethereum's
// fetcher has forgotten that version.
func (p *Pool) fetchUntold(ctx context.Context, peer *peer, hashes []common.Hash) error {
	ctx, cancel := context.WithTimeout(ctx, replyPatience)
	defer cancel()
	hashes = slices.DeleteFunc(hashes, func(hash common.Hash) bool { return p.Has(hash) || p.mined.has(hash) })
	for chunk := range slices.Chunk(hashes, maxUntold) {
		txs, err := peer.PooledTransactions(ctx, chunk)
		if err != nil {
			return err
		}
		if err := p.fetcher.Load().Enqueue(peer.ID(), peer.Version(), txs, false); err != nil {
			return err
		}
	}
	return nil
}

// forget takes back what a peer's waiting transactions were counted as.
func (p *Pool) forget(peer *peer) {
	for {
		select {
		case txs := <-peer.incoming:
			p.done(peer, sizeOf(txs))
		default:
			return
		}
	}
}

// spread tells peers about new transactions. It looks into no pool: those wait for it while they
// hold their locks.
func (p *Pool) spread(ctx context.Context) error {
	for {
		select {
		case event := <-p.news:
			p.spreadAll(event.Txs)
		case <-ctx.Done():
			return nil
		}
	}
}

func (p *Pool) spreadAll(txs []*types.Transaction) {
	peers := p.peers.all()
	send, announce := make(map[*peer][]common.Hash), make(map[*peer][]common.Hash)
	for _, tx := range txs {
		var whole map[*peer]bool
		if tx.Type() != types.BlobTxType && tx.Size() <= maxWhole {
			whole = p.choice.of(peers, p.sender(tx))
		}
		for _, to := range peers {
			switch {
			case tx.Type() == types.BlobTxType && to.Version() < withBlobs:
			case len(to.known.add(tx.Hash())) == 0: // it has it, or was told
			case whole[to]:
				send[to] = append(send[to], tx.Hash())
			default:
				announce[to] = append(announce[to], tx.Hash())
			}
		}
	}
	for _, to := range peers {
		if dropped := to.tell(send[to], announce[to]); dropped > 0 {
			p.metrics.dropped.WithLabelValues(droppedOutgoing).Add(float64(dropped))
		}
	}
}

// tellAll announces what can be executed now to a new peer, then tells it the news, until it is gone.
func (p *Pool) tellAll(ctx context.Context, peer *peer) {
	if at := p.at.Load(); at != nil {
		pending, _ := at.legacy.Pending(txpool.PendingFilter{})
		var hashes []common.Hash
		for _, txs := range pending {
			for _, tx := range txs {
				hashes = append(hashes, tx.Hash)
			}
		}
		peer.tell(nil, peer.known.add(hashes...))
	}
	for {
		select {
		case <-peer.signal:
		case <-peer.Done():
			return
		case <-ctx.Done():
			return
		}
		send, announce := peer.told()
		if p.sendWhole(ctx, peer, send) != nil || p.sendHashes(ctx, peer, announce) != nil {
			return // the connection is over
		}
	}
}

func (p *Pool) sendWhole(ctx context.Context, peer *peer, hashes []common.Hash) error {
	var txs []*types.Transaction
	var size uint64
	for i, hash := range hashes {
		if tx := p.Get(hash); tx != nil { // else it left the pool
			txs, size = append(txs, tx), size+tx.Size()
		}
		if len(txs) == 0 || i < len(hashes)-1 && size < maxPacket {
			continue
		}
		if err := peer.SendTransactions(ctx, txs); err != nil {
			return fmt.Errorf("send transactions: %w", err)
		}
		txs, size = nil, 0
	}
	return nil
}

func (p *Pool) sendHashes(ctx context.Context, peer *peer, hashes []common.Hash) error {
	for len(hashes) > 0 {
		n := min(len(hashes), maxPacket/common.HashLength)
		var kinds []byte
		var sizes []uint32
		var there []common.Hash
		for _, hash := range hashes[:n] {
			if meta := p.metadata(hash); meta != nil { // else it left the pool
				kinds, sizes, there = append(kinds, meta.Type), append(sizes, uint32(meta.Size)), append(there, hash)
			}
		}
		if hashes = hashes[n:]; len(there) == 0 {
			continue
		}
		if err := peer.AnnounceTransactions(ctx, kinds, sizes, there); err != nil {
			return fmt.Errorf("announce transactions: %w", err)
		}
	}
	return nil
}

func hashesOf(txs []*types.Transaction) []common.Hash {
	hashes := make([]common.Hash, len(txs))
	for i, tx := range txs {
		hashes[i] = tx.Hash()
	}
	return hashes
}

// sizeOf is the size of transactions in bytes.
func sizeOf(txs []*types.Transaction) (size int64) {
	for _, tx := range txs {
		size += int64(tx.Size())
	}
	return size
}
