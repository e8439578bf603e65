// SPDX-License-Identifier: LGPL-3.0-or-later

package pool

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/txpool"
	"github.com/ethereum/go-ethereum/core/txpool/blobpool"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto/kzg4844"
	"github.com/ethereum/go-ethereum/eth/fetcher"
	"golang.org/x/sync/errgroup"
)

const (
	// firstCellVersion is the first version of eth whose peers send blob transactions without their blobs, and
	// the cells of these apart.
	firstCellVersion = 72
	// cellTimeout bounds the wait for cells. go-ethereum's fetcher asks other peers after this time.
	cellTimeout = 5 * time.Second
	// maxAssembled is the number of verified transactions that may wait to be added, each with up to 0.8 MB of
	// cells; adders is how many are added at the same time.
	maxAssembled = 32
	adders       = 4
	// maxFollowed is the number of announced hashes after which a new fetcher of cells takes over: go-ethereum's
	// keeps some of those of which it never gets the cells for ever, some 50 bytes each.
	maxFollowed = 1 << 18
)

// assembler puts together the blob transactions of eth/72 peers (EIP-8070). These send a transaction with the
// commitments and proofs of its blobs but without blobs, and the cells of these apart. go-ethereum's BlobFetcher decides
// which cells are requested of which peer, and its BlobBuffer keeps both parts, bounded by bytes, and verifies the
// cells when both are there. Only then the transaction is added to the pool.
//
// A peer whose cells do not fit is disconnected, as in go-ethereum, but not banned: the proofs may be of another
// peer, and nothing but the cells themselves can tell which of the two is wrong.
type assembler struct {
	*Pool
	buffer    *blobpool.BlobBuffer
	assembled chan *blobpool.BlobTxForPool
	changed   chan struct{} // capacity 1: custody has changed

	mu       sync.Mutex
	adding   map[common.Hash]struct{}     // in assembled, or being added
	custody  types.CustodyBitmap          // columns that the consensus client has custody of
	renew    func() *fetcher.BlobFetcher  // starts a fetcher; called with mu locked; nil before start
	random   interface{ Intn(n int) int } // which transactions are fetched whole; tests set it
	current  *fetcher.BlobFetcher         // gets announcements
	previous *fetcher.BlobFetcher         // ends its requests; may be nil
	followed int                          // hashes announced to current
}

func newAssembler(p *Pool) *assembler {
	a := &assembler{
		Pool: p, custody: types.CustodyBitmapAll, adding: make(map[common.Hash]struct{}),
		assembled: make(chan *blobpool.BlobTxForPool, maxAssembled), changed: make(chan struct{}, 1),
	}
	a.buffer = blobpool.NewBlobBuffer(blobpool.BlobBufferFunctions{ // it is locked during the calls
		ValidateTx: a.validate,
		AddToPool:  a.enqueue,
		DropPeer: func(id string) {
			a.drop(id, errors.New("cells of blobs that do not fit their commitments and proofs"))
		},
	})
	return a
}

// start starts the fetcher. Its callbacks have no context: they get ctx, that of Run.
func (a *assembler) start(ctx context.Context) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.renew = func() *fetcher.BlobFetcher {
		var f *fetcher.BlobFetcher
		f = fetcher.NewBlobFetcher(fetcher.BlobFetcherFunctions{
			HasPayload: a.hasCells,
			AddCells:   a.addCells,
			FetchPayloads: func(id string, hashes []common.Hash, columns types.CustodyBitmap) error {
				return a.fetchCells(ctx, f, id, hashes, columns)
			},
			DropPeer: func(id string) { a.drop(id, errors.New("cells of blobs that contradict earlier ones")) },
		}, a.custody, a.random, fetcher.DefaultFetchProbability)
		f.Start()
		return f
	}
	a.current = a.renew()
}

// stop stops the fetchers.
func (a *assembler) stop() {
	for _, f := range a.fetchers() {
		f.Stop()
	}
}

func (a *assembler) fetchers() []*fetcher.BlobFetcher {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.current == nil:
		return nil
	case a.previous == nil:
		return []*fetcher.BlobFetcher{a.current}
	}
	return []*fetcher.BlobFetcher{a.current, a.previous}
}

// run adds what is assembled until ctx ends.
func (a *assembler) run(ctx context.Context) error {
	var group errgroup.Group
	for range adders {
		group.Go(func() error {
			for {
				select {
				case tx := <-a.assembled:
					if err := a.add(ctx, tx); err != nil {
						a.log.Debug("Blob transaction of a peer not added", "hash", tx.Tx.Hash(), "err", err)
					}
				case <-ctx.Done():
					return nil
				}
			}
		})
	}
	group.Go(func() error {
		for {
			select {
			case <-a.changed:
				for _, f := range a.fetchers() {
					f.UpdateCustody(a.columnsInCustody())
				}
			case <-ctx.Done():
				return nil
			}
		}
	})
	return group.Wait()
}

// SetCustody sets the columns whose cells are kept of every blob; all before the first call, and if there are none:
// otherwise most transactions would never be complete. Of 15 % of the transactions, or with half of the columns of all,
// the whole blobs are fetched (EIP-8070). It does not block.
func (p *Pool) SetCustody(columns types.CustodyBitmap) {
	if columns.OneCount() == 0 {
		columns = types.CustodyBitmapAll
	}
	a := p.assembler
	a.mu.Lock()
	a.custody = columns
	a.mu.Unlock()
	select {
	case a.changed <- struct{}{}:
	default: // already signalled
	}
}

func (a *assembler) columnsInCustody() types.CustodyBitmap {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.custody
}

// announced takes the hashes of blob transactions of which a peer has the cells in some columns.
func (a *assembler) announced(id string, hashes []common.Hash, columns types.CustodyBitmap) {
	if len(hashes) == 0 || columns.OneCount() == 0 {
		return
	}
	a.mu.Lock()
	if a.followed += len(hashes); a.followed > maxFollowed {
		if a.previous != nil {
			a.previous.Stop()
		}
		a.previous, a.current, a.followed = a.current, a.renew(), len(hashes)
	}
	current := a.current
	a.mu.Unlock()
	_ = current.Notify(id, hashes, columns) // it fails when the fetcher has stopped
}

// left forgets a peer.
func (a *assembler) left(id string) {
	for _, f := range a.fetchers() {
		_ = f.Drop(id) // it fails when the fetcher has stopped
	}
}

// hasTransaction says whether a transaction without its blobs is here.
func (a *assembler) hasTransaction(hash common.Hash) bool {
	return a.isAdding(hash) || a.buffer.HasTx(hash)
}

// hasCells says whether the cells of a transaction are not needed.
func (a *assembler) hasCells(hash common.Hash) bool {
	return a.mined.has(hash) || a.isAdding(hash) || a.Has(hash) || a.buffer.HasCells(hash)
}

func (a *assembler) isAdding(hash common.Hash) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, is := a.adding[hash]
	return is
}

// fetchCells asks a peer for cells and hands them to the fetcher. After an error the fetcher asks others, and this peer
// again only after its next announcement. A timeout is no error: the fetcher has its own.
func (a *assembler) fetchCells(ctx context.Context, f *fetcher.BlobFetcher, id string, hashes []common.Hash, columns types.CustodyBitmap) error {
	peer := a.peers.get(id)
	if peer == nil {
		return errPeerLeft
	}
	timeout, cancel := context.WithTimeout(ctx, cellTimeout)
	defer cancel()
	found, cells, err := peer.Cells(timeout, hashes, columns)
	switch {
	case err != nil && ctx.Err() == nil && timeout.Err() != nil:
		return nil //nolint:nilerr // see above
	case err != nil || len(found) == 0:
		return err
	}
	return f.Enqueue(id, found, cells, columns)
}

// addCells takes the cells of one transaction, by peer.
func (a *assembler) addCells(hash common.Hash, deliveries map[string]*fetcher.PeerCellDelivery, columns types.CustodyBitmap) {
	converted := make(map[string]*blobpool.PeerDelivery, len(deliveries))
	for id, d := range deliveries {
		converted[id] = &blobpool.PeerDelivery{Cells: d.Cells, Indices: d.Indices}
	}
	a.buffer.AddCells(hash, converted, columns)
	a.buffer.Flush() // otherwise it waits for the next event of the transaction fetcher
}

// validate checks a transaction without blobs by the stateless rules.
func (a *assembler) validate(tx *types.Transaction) error {
	if at := a.at.Load(); at != nil && at.blob != nil {
		return at.blob.ValidateTxBasics(tx)
	}
	return errBlobClosed
}

// enqueue lets a transaction whose cells are verified wait to be added. It does not block.
func (a *assembler) enqueue(tx *blobpool.BlobTxForPool) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	select {
	case a.assembled <- tx:
		a.adding[tx.Tx.Hash()] = struct{}{}
		return nil
	default:
		a.metrics.dropped.WithLabelValues(droppedIncoming).Inc()
		return txpool.ErrOutOfCapacity
	}
}

// add adds a transaction whose cells are verified.
func (a *assembler) add(ctx context.Context, tx *blobpool.BlobTxForPool) (err error) {
	defer func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.adding, tx.Tx.Hash())
	}()
	ctx, cancel := context.WithTimeout(ctx, gossipTimeout)
	defer cancel()
	if err := a.complete(ctx, tx.CellSidecar); err != nil {
		return err
	}
	from := a.sender(tx.Tx)
	a.withAccounts(ctx, accountSource{states: a.cfg.Peers, limit: a.reads}, nil, []common.Address{from}, func(at *headPools, unknown map[common.Address]error) {
		switch {
		case unknown[from] != nil:
			err = unknown[from]
		case at.blob == nil:
			err = errBlobClosed
		default:
			if err = at.blob.AddPooledTx(tx); err == nil {
				a.senders.note(from)
			}
			err = errors.Join(err, a.checkMissed(at))
		}
	})
	return err
}

// complete computes all cells of blobs of which half are here, so that the node can announce and serve them all: a
// peer that fetches whole blobs asks no other node (EIP-8070).
func (a *assembler) complete(ctx context.Context, sidecar *types.BlobTxCellSidecar) error {
	if have := sidecar.Custody.OneCount(); have < kzg4844.DataPerBlob || have == kzg4844.CellsPerBlob {
		return nil
	}
	if err := a.proving.Acquire(ctx, 1); err != nil {
		return err
	}
	defer a.proving.Release(1)
	cells, err := kzg4844.RecoverCells(sidecar.Cells, sidecar.Custody.Indices())
	if err != nil {
		return fmt.Errorf("compute cells: %w", err)
	}
	sidecar.Cells, sidecar.Custody = cells, types.CustodyBitmapAll
	return nil
}
