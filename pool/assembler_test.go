// SPDX-License-Identifier: LGPL-3.0-or-later

package pool

import (
	"context"
	"encoding/binary"
	"slices"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/txpool/blobpool"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto/kzg4844"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// blobless is a blob transaction as eth/72 peers send it.
func blobless(tx *types.Transaction) *types.Transaction {
	sidecar := tx.BlobTxSidecar()
	if sidecar == nil {
		return tx
	}
	return tx.WithBlobTxSidecar(types.NewBlobTxSidecar(sidecar.Version, nil, sidecar.Commitments, sidecar.Proofs))
}

// cellsIn are the cells of a transaction's blobs in some columns, blob after blob.
func cellsIn(tx *types.Transaction, columns types.CustodyBitmap) (cells []kzg4844.Cell) {
	all, err := kzg4844.ComputeCells(tx.BlobTxSidecar().Blobs)
	if err != nil {
		panic(err)
	}
	for blob := range tx.BlobHashes() {
		for _, column := range columns.Indices() {
			cells = append(cells, all[blob*kzg4844.CellsPerBlob+int(column)])
		}
	}
	return cells
}

func (p *fakePeer) Cells(_ context.Context, hashes []common.Hash, columns types.CustodyBitmap) (found []common.Hash, cells [][]kzg4844.Cell, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, hash := range hashes {
		p.cellsOf = append(p.cellsOf, hash)
		tx := p.has[hash]
		if tx == nil {
			continue
		}
		list := cellsIn(tx, columns)
		if p.wrong {
			list[len(list)-1][31] ^= 1
		}
		found, cells = append(found, hash), append(cells, list)
	}
	return found, cells, nil
}

// announceBlobs announces blob transactions of which a peer has the cells in some columns.
func (n *node) announceBlobs(p *fakePeer, columns types.CustodyBitmap, txs ...*types.Transaction) {
	var kinds []byte
	var sizes []uint32
	for _, tx := range txs {
		kinds, sizes = append(kinds, types.BlobTxType), append(sizes, uint32(blobless(tx).Size()))
	}
	n.Announced(p.id, kinds, sizes, hashesOf(txs), columns)
}

// TestAssembled: the transaction and its cells come apart from an eth/72 peer. It is whole then: it is announced to peers of
// each version in their way, and served with blobs and by cell.
func TestAssembled(t *testing.T) {
	n := startPool(t, newChainWorld(t))
	n.settle()
	tx := blobTx(keys[0], 0)
	from, old, modern := n.joinAs(72, "from", tx), n.join("old"), n.joinAs(72, "modern")
	n.announceBlobs(from, types.CustodyBitmapAll, tx)
	eventually(t, "it is in the pool", func() bool { return n.Has(tx.Hash()) })
	eventually(t, "the others hear of it", func() bool { return old.wasAnnounced(tx) && modern.wasAnnounced(tx) })
	if from.wasAnnounced(tx) || from.wasDropped() {
		t.Error("the peer that has it hears of it, or is dropped")
	}
	if got, want := old.sizes[tx.Hash()], uint32(tx.Size()); got != want {
		t.Errorf("announced with %d bytes to eth/71, has %d", got, want)
	}
	if got, want := modern.sizes[tx.Hash()], uint32(blobless(tx).Size()); got != want {
		t.Errorf("announced with %d bytes to eth/72, has %d", got, want)
	}
	if modern.columns[tx.Hash()] != types.CustodyBitmapAll || old.columns[tx.Hash()] != (types.CustodyBitmap{}) {
		t.Errorf("announced with columns %x and %x", modern.columns[tx.Hash()], old.columns[tx.Hash()])
	}
	if got := n.Get(tx.Hash()); got == nil || got.BlobTxSidecar() == nil || got.BlobTxSidecar().Blobs[0] != tx.BlobTxSidecar().Blobs[0] {
		t.Error("its blob differs")
	}
	columns := types.NewCustodyBitmap([]uint64{0, 63, 64, 127})
	if got := n.Cells(tx.Hash(), columns); !slices.Equal(got, cellsIn(tx, columns)) {
		t.Error("its cells differ")
	}
	if n.Cells(common.Hash{1}, columns) != nil {
		t.Error("there are cells of a transaction that is not in the pool")
	}
	if !slices.Equal(from.cellsOf, []common.Hash{tx.Hash()}) {
		t.Errorf("cells of %x were requested", from.cellsOf)
	}
}

// TestWrongCells: a peer whose cells are wrong is dropped, and its transaction does not enter the pool, but another
// peer's does.
func TestWrongCells(t *testing.T) {
	n := startPool(t, newChainWorld(t))
	n.settle()
	tx := blobTx(keys[0], 0)
	bad := n.joinAs(72, "bad", tx)
	bad.wrong = true
	n.announceBlobs(bad, types.CustodyBitmapAll, tx)
	eventually(t, "it is dropped", bad.wasDropped)
	n.Leave("bad")
	if n.Has(tx.Hash()) {
		t.Error("unverified cells are in the pool")
	}
	good := n.joinAs(72, "good", tx)
	n.announceBlobs(good, types.CustodyBitmapAll, tx)
	eventually(t, "it comes from another", func() bool { return n.Has(tx.Hash()) })
	if good.wasDropped() {
		t.Error("an honest peer is dropped")
	}
}

// certain is a random number that is always the same.
type certain int

func (c certain) Intn(int) int { return int(c) }

// TestSampled: with custody of a few columns, only their cells are fetched of most transactions. These are announced
// and served to eth/72 peers only, and give cells but no blobs.
func TestSampled(t *testing.T) {
	n := startPool(t, newChainWorld(t))
	n.settle()
	custody := types.NewCustodyBitmap([]uint64{3, 70, 127})
	n.SetCustody(custody)
	a := n.assembler
	a.mu.Lock()
	a.random = certain(99) // nothing is fetched whole
	a.current.Stop()
	a.current = a.renew()
	a.mu.Unlock()
	tx := blobTx(keys[0], 0)
	old, modern := n.join("old"), n.joinAs(72, "modern")
	from := []*fakePeer{n.joinAs(72, "a", tx), n.joinAs(72, "b", tx)}
	for _, p := range from { // that two peers have all its cells is a sign that the blobs exist
		n.announceBlobs(p, types.CustodyBitmapAll, tx)
	}
	eventually(t, "it is in the pool", func() bool { return n.Has(tx.Hash()) && modern.wasAnnounced(tx) })
	if columns := n.columns(tx.Hash()); columns == nil || *columns != custody || modern.columns[tx.Hash()] != custody {
		t.Errorf("pooled with columns %x, announced with %x", columns, modern.columns[tx.Hash()])
	}
	checkSampled(t, n, tx, custody)
	last := plain(keys[1], 0)
	if err := n.send(last); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all hear of others", func() bool { return old.wasAnnounced(last) || old.wasSent(last) })
	if old.wasAnnounced(tx) || from[0].wasDropped() || from[1].wasDropped() {
		t.Error("it was announced to a peer to which it cannot be sent, or an honest peer was dropped")
	}
}

func checkSampled(t *testing.T, n *node, tx *types.Transaction, custody types.CustodyBitmap) {
	t.Helper()
	hash := tx.Hash()
	if len(n.Encoded(hash, 71)) != 0 || len(n.Encoded(hash, 72)) == 0 {
		t.Error("it can be sent with blobs, or not without")
	}
	if got := n.Get(hash); got == nil || got.Hash() != hash || got.BlobTxSidecar() != nil {
		t.Errorf("it is %v", got)
	}
	if got := n.Cells(hash, custody); !slices.Equal(got, cellsIn(tx, custody)) {
		t.Error("its cells differ")
	}
	more := custody.Union(types.NewCustodyBitmap([]uint64{4}))
	if n.Cells(hash, more) != nil {
		t.Error("there are cells that were not fetched")
	}
	if has := n.HasBlobs(t.Context(), tx.BlobHashes()); !slices.Equal(has, []bool{true}) {
		t.Errorf("available: %v", has)
	}
	cells, proofs, err := n.BlobCells(tx.BlobHashes(), more)
	if err != nil || cells[0][0] == nil || cells[0][1] != nil || cells[0][2] == nil || proofs[0][0] == nil {
		t.Errorf("cells by versioned hash: %v, %v", cells, err)
	}
	if *cells[0][0] != cellsIn(tx, custody)[0] || *proofs[0][0] != tx.BlobTxSidecar().Proofs[3] {
		t.Error("cell or proof differ")
	}
}

// TestNoCustody: custody of no column is as custody of all, so that transactions go on entering the pool.
func TestNoCustody(t *testing.T) {
	n := &node{Pool: New(Config{Chain: newChainWorld(t)})}
	for _, columns := range []types.CustodyBitmap{types.NewCustodyBitmap([]uint64{7}), {}} {
		n.SetCustody(columns)
		if got := n.assembler.columnsInCustody(); got != columns && got != types.CustodyBitmapAll {
			t.Errorf("custody of %x, set to %x", got, columns)
		}
	}
	if n.assembler.columnsInCustody() != types.CustodyBitmapAll {
		t.Error("nothing would be fetched")
	}
}

// TestUnfetchedCells: whatever peers announce, the memory for it is bounded: go-ethereum's fetcher of cells is replaced
// before it remembers too much. What it works on goes on.
func TestUnfetchedCells(t *testing.T) {
	n := startPool(t, newChainWorld(t))
	n.settle()
	p := n.joinAs(72, "flood")
	first := n.assembler.fetchers()[0]
	hashes := make([]common.Hash, 4096)
	for i := range maxFollowed/len(hashes) + 1 {
		for k := range hashes {
			binary.BigEndian.PutUint64(hashes[k][:], uint64(i*len(hashes)+k))
		}
		n.assembler.announced(p.id, hashes, types.NewCustodyBitmap([]uint64{1}))
	}
	if now := n.assembler.fetchers(); len(now) != 2 || now[0] == first || now[1] != first {
		t.Errorf("%d fetchers, or not a new one before the first", len(now))
	}
	tx := blobTx(keys[0], 0)
	n.announceBlobs(n.joinAs(72, "from", tx), types.CustodyBitmapAll, tx)
	eventually(t, "others are fetched", func() bool { return n.Has(tx.Hash()) })
}

// TestAssembledOverflow: verified transactions beyond the limit are dropped, not queued.
func TestAssembledOverflow(t *testing.T) {
	n := &node{Pool: New(Config{Chain: newChainWorld(t)})} // not running: nothing is added
	for i := range uint64(maxAssembled + 3) {
		err := n.assembler.enqueue(&blobpool.BlobTxForPool{Tx: plain(keys[0], i)})
		if (err != nil) != (i >= maxAssembled) {
			t.Errorf("%d: %v", i, err)
		}
	}
	if dropped := testutil.ToFloat64(n.metrics.dropped.WithLabelValues(droppedIncoming)); dropped != 3 || len(n.assembler.adding) != maxAssembled {
		t.Errorf("%v dropped, %d to add", dropped, len(n.assembler.adding))
	}
}
