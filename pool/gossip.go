// SPDX-License-Identifier: LGPL-3.0-or-later

package pool

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/txpool"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/eth/fetcher"
)

const (
	// maxFullSize is the largest transaction in bytes that is sent to peers without a request (go-ethereum's
	// value).
	maxFullSize = 4096
	// replyTimeout bounds the wait for a peer's response. go-ethereum's fetcher asks other peers after five
	// seconds, and this one not again before it responded.
	replyTimeout = 30 * time.Second
	// maxUnsized is the number of transactions of unknown size in one request.
	maxUnsized = 256
)

// firstBlobVersion is the first version of eth that announces blob transactions.
const firstBlobVersion = 68

var errPeerLeft = errors.New("peer left")

// newFetcher returns go-ethereum's fetcher. It decides which peer to ask, compares responses with announcements,
// and drops peers whose announcements were wrong. Its callbacks have no context: they get that of Run.
func (p *Pool) newFetcher(ctx context.Context) *fetcher.TxFetcher {
	add := func(txs []*types.Transaction) []error { return p.addGossip(ctx, txs) }
	fetch := func(id string, hashes []common.Hash) error { return p.fetch(ctx, id, hashes) }
	drop := func(id string) { p.drop(id, errors.New("invalid transactions, or other ones than announced")) }
	return fetcher.NewTxFetcher(nil, p.wanted, add, fetch, drop, nil, p.assembler.buffer)
}

// wanted says whether an announced transaction is worth fetching.
func (p *Pool) wanted(hash common.Hash, kind byte) error {
	if p.mined.has(hash) || kind == types.BlobTxType && p.assembler.hasTransaction(hash) {
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
	ctx, cancel := context.WithTimeout(ctx, gossipTimeout)
	defer cancel()
	return p.add(ctx, accountSource{states: p.cfg.Peers, limit: p.reads}, txs)
}

// fetch asks a peer for transactions and hands them to the fetcher. After an error the fetcher asks
// other peers, and this one again only after its next announcement.
func (p *Pool) fetch(ctx context.Context, id string, hashes []common.Hash) error {
	peer := p.peers.get(id)
	if peer == nil {
		return errPeerLeft
	}
	ctx, cancel := context.WithTimeout(ctx, replyTimeout)
	defer cancel()
	txs, err := peer.PooledTransactions(ctx, hashes)
	if err != nil {
		return err
	}
	peer.known.add(hashesOf(txs)...)
	return p.fetcher.Load().Enqueue(id, peer.Version(), txs, true)
}

// drop ends the connection to a peer that broke a rule.
func (p *Pool) drop(id string, reason error) {
	if peer := p.peers.get(id); peer != nil {
		peer.Drop(reason)
	}
}

// Join adds a connection. It does not block.
func (p *Pool) Join(conn Peer) {
	p.peers.join(newPeer(conn))
	p.wakeUp()
}

// Leave removes a connection.
func (p *Pool) Leave(id string) {
	if fetcher := p.fetcher.Load(); p.peers.leave(id) && fetcher != nil {
		_ = fetcher.Drop(id) // it fails when the fetcher has stopped
		p.assembler.left(id)
	}
}

// Announced takes the hashes of transactions that a peer has; all lists have the same length. sizes are
// in bytes, network encoding of the peer's version. Over eth/66 kinds and sizes are nil. From eth/72 on the peer has the
// cells of all announced blobs in some columns. It does not block.
func (p *Pool) Announced(id string, kinds []byte, sizes []uint32, hashes []common.Hash, columns types.CustodyBitmap) {
	peer := p.peers.get(id)
	if peer == nil || p.at.Load() == nil && p.cfg.Ready() != nil {
		return
	}
	a := announcement{kinds, sizes, hashes, columns}
	if n := p.peers.admit(peer, len(hashes), time.Now()); n < len(hashes) {
		p.metrics.dropped.WithLabelValues(droppedIncoming).Inc()
		if a = a.first(n); n == 0 {
			return
		}
	}
	peer.known.add(a.hashes...)
	if at := p.at.Load(); at != nil && kinds != nil {
		if p.notify(peer, a); at.blob != nil {
			return
		} // otherwise once more for blob transactions, when their pool is open
	}
	select {
	case peer.announcements <- a:
	default:
		p.metrics.dropped.WithLabelValues(droppedIncoming).Inc()
	}
}

// notify hands an announcement to the fetchers.
func (p *Pool) notify(peer *peer, a announcement) {
	blobs, err := p.fetcher.Load().Notify(peer.ID(), peer.Version(), a.kinds, a.sizes, a.hashes)
	if err == nil && peer.Version() >= firstCellVersion { // it fails when the fetcher has stopped
		p.assembler.announced(peer.ID(), blobs, a.columns)
	}
}

// Received takes transactions that a peer sent without a request, without duplicates and none with blobs. It does not
// block.
func (p *Pool) Received(id string, txs []*types.Transaction) {
	peer := p.peers.get(id)
	if peer == nil || p.at.Load() == nil && p.cfg.Ready() != nil {
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
	p.release(peer, size)
	return false
}

func (p *Pool) release(peer *peer, size int64) {
	peer.bytes.Add(-size)
	p.peers.bytes.Add(-size)
}

// serve handles one peer until it disconnects or ctx ends.
func (p *Pool) serve(ctx context.Context, peer *peer) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.serveOutgoing(ctx, peer)
	}()
	defer func() { <-done }()
	opened := p.opened
	var announcements chan announcement // nil until the pools are open
	for {
		select {
		case txs := <-peer.incoming:
			_ = p.fetcher.Load().Enqueue(peer.ID(), peer.Version(), txs, false) // it fails when the fetcher has stopped
			p.release(peer, sizeOf(txs))
		case <-opened:
			opened, announcements = nil, peer.announcements
		case a := <-announcements:
			if a.kinds != nil {
				p.notify(peer, a)
			} else if err := p.fetchUnsized(ctx, peer, a.hashes); err != nil {
				p.log.Debug("Announced transactions not fetched", "peer", peer.ID(), "err", err)
			}
		case <-peer.Done():
			p.discardIncoming(peer)
			return
		case <-ctx.Done():
			p.discardIncoming(peer)
			return
		}
	}
}

// fetchUnsized asks an eth/66 peer for those announced transactions that are not in the pool: go-ethereum's
// fetcher no longer supports that version.
func (p *Pool) fetchUnsized(ctx context.Context, peer *peer, hashes []common.Hash) error {
	ctx, cancel := context.WithTimeout(ctx, replyTimeout)
	defer cancel()
	hashes = slices.DeleteFunc(hashes, func(hash common.Hash) bool { return p.Has(hash) || p.mined.has(hash) })
	for chunk := range slices.Chunk(hashes, maxUnsized) {
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

// discardIncoming drops the queued transactions of a peer and releases their bytes.
func (p *Pool) discardIncoming(peer *peer) {
	for {
		select {
		case txs := <-peer.incoming:
			p.release(peer, sizeOf(txs))
		default:
			return
		}
	}
}

// broadcast sends new transactions to peers. It calls no pool: the pools wait for it while they hold their
// locks.
func (p *Pool) broadcast(ctx context.Context) error {
	for {
		select {
		case event := <-p.added:
			p.broadcastAll(event.Txs)
			p.pending.Send(event.Txs)
		case <-ctx.Done():
			return nil
		}
	}
}

func (p *Pool) broadcastAll(txs []*types.Transaction) {
	peers := p.peers.all()
	send, announce := make(map[*peer][]common.Hash), make(map[*peer][]common.Hash)
	for _, tx := range txs {
		var full map[*peer]bool
		if tx.Type() != types.BlobTxType && tx.Size() <= maxFullSize {
			full = p.fullRecipients.pick(peers, p.sender(tx))
		}
		for _, to := range peers {
			switch {
			case tx.Type() == types.BlobTxType && to.Version() < firstBlobVersion:
			case len(to.known.add(tx.Hash())) == 0: // the peer has it, or it was sent to the peer
			case full[to]:
				send[to] = append(send[to], tx.Hash())
			default:
				announce[to] = append(announce[to], tx.Hash())
			}
		}
	}
	for _, to := range peers {
		if dropped := to.enqueue(send[to], announce[to]); dropped > 0 {
			p.metrics.dropped.WithLabelValues(droppedOutgoing).Add(float64(dropped))
		}
	}
}

// serveOutgoing announces the executable transactions to a new peer, then sends it new ones until it disconnects.
func (p *Pool) serveOutgoing(ctx context.Context, peer *peer) {
	if at := p.at.Load(); at != nil {
		pending, _ := at.legacy.Pending(txpool.PendingFilter{})
		var hashes []common.Hash
		for _, txs := range pending {
			for _, tx := range txs {
				hashes = append(hashes, tx.Hash)
			}
		}
		peer.enqueue(nil, peer.known.add(hashes...))
	}
	for {
		select {
		case <-peer.signal:
		case <-peer.Done():
			return
		case <-ctx.Done():
			return
		}
		send, announce := peer.drain()
		if p.sendFull(ctx, peer, send) != nil || p.sendHashes(ctx, peer, announce) != nil {
			return // the connection has ended
		}
	}
}

func (p *Pool) sendFull(ctx context.Context, peer *peer, hashes []common.Hash) error {
	var txs []*types.Transaction
	var size uint64
	for i, hash := range hashes {
		if tx := p.Get(hash); tx != nil { // otherwise it has left the pool
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
	for chunk := range slices.Chunk(hashes, maxPacket/common.HashLength) {
		for _, a := range p.announcements(peer.Version(), chunk) {
			if err := peer.AnnounceTransactions(ctx, a.kinds, a.sizes, a.hashes, a.columns); err != nil {
				return fmt.Errorf("announce transactions: %w", err)
			}
		}
	}
	return nil
}

// announcements describes pooled transactions to a peer: one announcement for each set of columns, without those that
// have left the pool or cannot be sent to the peer.
func (p *Pool) announcements(version uint, hashes []common.Hash) (list []announcement) {
	for _, hash := range hashes {
		meta, columns := p.metadata(hash), p.columns(hash)
		if meta == nil || !servable(columns, version) {
			continue
		}
		size, mask := meta.Size, types.CustodyBitmap{}
		if version >= firstCellVersion && columns != nil {
			size, mask = meta.SizeWithoutBlob, *columns
		}
		i := slices.IndexFunc(list, func(a announcement) bool { return a.columns == mask })
		if i < 0 {
			i, list = len(list), append(list, announcement{columns: mask})
		}
		a := &list[i]
		a.kinds, a.sizes, a.hashes = append(a.kinds, meta.Type), append(a.sizes, uint32(size)), append(a.hashes, hash)
	}
	return list
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
