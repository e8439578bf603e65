// SPDX-License-Identifier: LGPL-3.0-or-later

package pool

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// fakePeer records what is sent to it and serves the transactions that it has.
type fakePeer struct {
	id      string
	version uint // of eth; zero: 71
	gone    chan struct{}
	slow    chan struct{} // telling it something waits until it is closed; nil: it does not

	mu        sync.Mutex
	has       map[common.Hash]*types.Transaction
	asked     []common.Hash
	sent      []common.Hash
	announced []common.Hash
	sizes     map[common.Hash]uint32
	columns   map[common.Hash]types.CustodyBitmap
	wrong     bool // it sends wrong cells
	cellsOf   []common.Hash
	dropped   error
}

func (n *node) join(id string, has ...*types.Transaction) *fakePeer {
	return n.joinAs(71, id, has...)
}

// joinAs is join with a version of eth.
func (n *node) joinAs(version uint, id string, has ...*types.Transaction) *fakePeer {
	p := &fakePeer{
		id: id, version: version, gone: make(chan struct{}), has: make(map[common.Hash]*types.Transaction),
		sizes: make(map[common.Hash]uint32), columns: make(map[common.Hash]types.CustodyBitmap),
	}
	for _, tx := range has {
		p.has[tx.Hash()] = tx
	}
	n.Join(p)
	return p
}

func (p *fakePeer) ID() string { return p.id }

func (p *fakePeer) Version() uint { return cmp.Or(p.version, 71) }

func (p *fakePeer) Done() <-chan struct{} { return p.gone }

func (p *fakePeer) PooledTransactions(_ context.Context, hashes []common.Hash) (txs []*types.Transaction, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = append(p.asked, hashes...)
	for _, hash := range hashes {
		if tx := p.has[hash]; tx != nil {
			if p.Version() >= firstCellVersion {
				tx = blobless(tx)
			}
			txs = append(txs, tx)
		}
	}
	return txs, nil
}

func (p *fakePeer) wait(ctx context.Context) {
	if p.slow != nil {
		select {
		case <-p.slow:
		case <-ctx.Done():
		}
	}
}

func (p *fakePeer) SendTransactions(ctx context.Context, txs []*types.Transaction) error {
	p.wait(ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sent = append(p.sent, hashesOf(txs)...)
	return nil
}

func (p *fakePeer) AnnounceTransactions(ctx context.Context, kinds []byte, sizes []uint32, hashes []common.Hash, columns types.CustodyBitmap) error {
	p.wait(ctx)
	if len(kinds) != len(hashes) || len(sizes) != len(hashes) {
		return fmt.Errorf("%d hashes, %d types, %d sizes", len(hashes), len(kinds), len(sizes))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.announced = append(p.announced, hashes...)
	for i, hash := range hashes {
		p.sizes[hash] = sizes[i]
		if p.columns != nil {
			p.columns[hash] = columns
		}
	}
	return nil
}

func (p *fakePeer) Drop(reason error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dropped == nil {
		p.dropped = reason
		close(p.gone)
	}
}

func (p *fakePeer) wasDropped() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dropped != nil
}

func (p *fakePeer) wasSent(tx *types.Transaction) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Contains(p.sent, tx.Hash())
}

func (p *fakePeer) wasAnnounced(tx *types.Transaction) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Contains(p.announced, tx.Hash())
}

func (n *node) announce(p *fakePeer, tx *types.Transaction, kind byte, size uint64) {
	n.Announced(p.id, []byte{kind}, []uint32{uint32(size)}, []common.Hash{tx.Hash()}, types.CustodyBitmap{})
}

// TestPropagation: plain transactions go in full to the square root of the peers, which are the same
// for all transactions of a sender; the others hear their hashes, as of those with blobs and of
// large ones all do. The one it came from hears nothing.
func TestPropagation(t *testing.T) {
	n := startPool(t, newChainWorld(t))
	n.settle()
	held := plain(keys[6], 0)
	if err := n.send(held); err != nil {
		t.Fatal(err)
	}
	var peers []*fakePeer
	for i := range 9 {
		p := n.join(fmt.Sprint("peer", i))
		peers = append(peers, p)
		eventually(t, "a new peer gets the transactions of the pool", func() bool { return p.wasAnnounced(held) || p.wasSent(held) })
	}
	count := func(tx *types.Transaction) (sent, announced int) {
		for _, p := range peers {
			if p.wasSent(tx) {
				sent++
			}
			if p.wasAnnounced(tx) {
				announced++
			}
		}
		return sent, announced
	}
	expect := func(what string, tx *types.Transaction, wantSent, wantAnnounced int) {
		t.Helper()
		eventually(t, fmt.Sprintf("%s goes to %d in full, to %d by hash", what, wantSent, wantAnnounced), func() bool {
			sent, announced := count(tx)
			return sent == wantSent && announced == wantAnnounced
		})
	}
	small, second := plain(keys[0], 0), plain(keys[0], 1)
	large := plain(keys[0], 2, func(tx *types.DynamicFeeTx) { tx.Data, tx.Gas = make([]byte, maxFullSize), 1_000_000 })
	blobs := blobTx(keys[1], 0)
	for _, tx := range []*types.Transaction{small, second, large, blobs} {
		if err := n.send(tx); err != nil {
			t.Fatal(err)
		}
	}
	expect("a small one", small, 3, 6)
	expect("the sender's next", second, 3, 6)
	expect("a large one", large, 0, 9)
	expect("one with blobs", blobs, 0, 9)
	for _, p := range peers {
		if p.wasSent(small) != p.wasSent(second) {
			t.Error("a sender's transactions go different ways")
		}
		if size := p.sizes[blobs.Hash()]; size != uint32(blobs.Size()) {
			t.Errorf("announced with %d bytes, has %d", size, blobs.Size())
		}
	}

	gossiped := plain(keys[2], 0)
	n.Received(peers[4].id, []*types.Transaction{gossiped})
	eventually(t, "the others hear of it", func() bool {
		sent, announced := count(gossiped)
		return sent+announced == 8
	})
	if peers[4].wasSent(gossiped) || peers[4].wasAnnounced(gossiped) {
		t.Error("it came back to where it came from")
	}
	late := n.join("late")
	eventually(t, "a new peer gets the transactions of the pool", func() bool {
		return late.wasAnnounced(small) && late.wasAnnounced(second) && late.wasAnnounced(large) && (late.wasAnnounced(gossiped) || late.wasSent(gossiped))
	})
	if late.wasAnnounced(blobs) {
		t.Error("a new peer hears of blobs") // go-ethereum does not tell, either
	}
}

// TestAnnounced: what peers announce is fetched, once, and what is not as announced has
// consequences.
func TestAnnounced(t *testing.T) {
	n := startPool(t, newChainWorld(t))
	n.settle()
	good, blobs := plain(keys[0], 0), blobTx(keys[1], 0)
	wrongSize, wrongKind, absent := plain(keys[2], 0), plain(keys[3], 0), plain(keys[4], 0)
	a := n.join("a", good, blobs)
	misreporting := n.join("misreporting", wrongSize)
	other := n.join("other", wrongKind)
	empty := n.join("empty")
	rescue := n.join("rescue", absent)

	n.announce(a, good, good.Type(), good.Size())
	n.announce(a, blobs, blobs.Type(), blobs.Size())
	n.announce(misreporting, wrongSize, wrongSize.Type(), wrongSize.Size()+100)
	n.announce(other, wrongKind, types.BlobTxType, wrongKind.Size())
	n.announce(empty, absent, absent.Type(), absent.Size())
	n.announce(rescue, absent, absent.Type(), absent.Size())
	n.announce(a, plain(keys[5], 0), 0x7f, 100) // no such type: not asked for

	eventually(t, "what was announced rightly is there", func() bool { return n.Has(good.Hash()) && n.Has(blobs.Hash()) })
	eventually(t, "who announced a wrong size is dropped", misreporting.wasDropped)
	eventually(t, "who announced a wrong type is dropped", other.wasDropped)
	eventually(t, "one that a peer had not comes from another", func() bool { return n.Has(absent.Hash()) })
	if a.wasDropped() || empty.wasDropped() || rescue.wasDropped() {
		t.Error("an honest peer is dropped")
	}
	if len(a.asked) != 2 {
		t.Errorf("asked for %d", len(a.asked))
	}
	n.Leave("a")
	n.Announced("a", []byte{2}, []uint32{100}, []common.Hash{{1}}, types.CustodyBitmap{}) // nothing happens
}

// TestAnnounced66: over eth/66 hashes come without types and sizes, and blob transactions are not announced.
func TestAnnounced66(t *testing.T) {
	n := startPool(t, newChainWorld(t))
	n.settle()
	tx, absent := plain(keys[0], 0), plain(keys[2], 0)
	p := &fakePeer{id: "old", version: 66, gone: make(chan struct{}), has: map[common.Hash]*types.Transaction{tx.Hash(): tx}, sizes: make(map[common.Hash]uint32)}
	n.Join(p)
	n.Announced("old", nil, nil, []common.Hash{tx.Hash(), absent.Hash()}, types.CustodyBitmap{})
	eventually(t, "it is fetched", func() bool { return n.Has(tx.Hash()) })
	blobs := blobTx(keys[1], 0)
	if err := n.send(blobs); err != nil {
		t.Fatal(err)
	}
	last := plain(keys[3], 0)
	if err := n.send(last); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it hears of others", func() bool { return p.wasSent(last) })
	if p.wasAnnounced(blobs) || p.wasDropped() {
		t.Error("it hears of blobs, or is dropped")
	}
}

// TestAnnouncedEarly: what is announced while the pools are being opened is fetched when they are.
func TestAnnouncedEarly(t *testing.T) {
	w := newChainWorld(t)
	dir := t.TempDir()
	at := func(c *Config) { c.BlobDir = dir }
	n := startPool(t, w, at)
	n.settle()
	if err := n.send(blobTx(keys[0], 0)); err != nil {
		t.Fatal(err)
	}
	n.stop()

	n = startPool(t, w, at)
	hold := make(chan struct{})
	n.net.set(0, hold) // the account of the one on disk
	small, blobs := plain(keys[1], 0), blobTx(keys[2], 0)
	p := n.join("p", small, blobs)
	n.announce(p, small, small.Type(), small.Size())
	n.announce(p, blobs, blobs.Type(), blobs.Size())
	eventually(t, "the account is asked for", func() bool { return n.net.count() > 0 })
	if at := n.at.Load(); at == nil || at.blob != nil {
		t.Error("the blob pool does not wait")
	}
	close(hold)
	eventually(t, "both are fetched", func() bool { return n.Has(small.Hash()) && n.Has(blobs.Hash()) })
	if p.wasDropped() {
		t.Error("an honest peer is dropped")
	}
}

// TestBadProofs: who gives blobs with wrong proofs is dropped, and the transaction comes from another.
func TestBadProofs(t *testing.T) {
	n := startPool(t, newChainWorld(t))
	n.settle()
	good := blobTx(keys[0], 0)
	sidecar := good.BlobTxSidecar().Copy()
	sidecar.Proofs[0], sidecar.Proofs[1] = sidecar.Proofs[1], sidecar.Proofs[0]
	sidecar.Blobs[0][7]++
	bad := n.join("bad", good.WithBlobTxSidecar(sidecar))
	n.announce(bad, good, good.Type(), good.Size())
	eventually(t, "it is dropped", bad.wasDropped)
	if n.Has(good.Hash()) {
		t.Error("the blobs are in the pool")
	}
	n.Leave("bad")
	fine := n.join("fine", good)
	n.announce(fine, good, good.Type(), good.Size())
	eventually(t, "it comes from another", func() bool { return n.Has(good.Hash()) })
	if fine.wasDropped() {
		t.Error("an honest peer is dropped")
	}
}

// TestMined: announcements of what was just included are not followed.
func TestMined(t *testing.T) {
	w := newChainWorld(t)
	n := startPool(t, w)
	n.settle()
	tx := plain(keys[0], 0)
	w.extend(tx)
	n.settle()
	p := n.join("p", tx)
	n.announce(p, tx, tx.Type(), tx.Size())
	next := plain(keys[0], 1)
	p.has[next.Hash()] = next
	n.announce(p, next, next.Type(), next.Size())
	eventually(t, "the next one comes", func() bool { return n.Has(next.Hash()) })
	if slices.Contains(p.asked, tx.Hash()) {
		t.Error("it was asked for")
	}
}

// TestUnavailableGossip: transactions of peers whose senders' accounts cannot be read are forgotten,
// no peer is dropped, and other peers are not kept waiting.
func TestUnavailableGossip(t *testing.T) {
	n := startPool(t, newChainWorld(t))
	n.settle()
	n.net.set(-1, nil)
	p := n.join("p")
	tx := plain(keys[0], 0)
	n.Received("p", []*types.Transaction{tx})
	eventually(t, "it is looked at", func() bool { return testutil.ToFloat64(n.metrics.unavailable) > 0 })
	if n.Has(tx.Hash()) || p.wasDropped() {
		t.Error("it is pooled, or a peer was dropped")
	}
	n.net.set(0, nil)
	n.Received("p", []*types.Transaction{tx})
	eventually(t, "it comes again", func() bool { return n.Has(tx.Hash()) })
}

// TestBounds: neither a flood nor a slow peer exceeds the bounds of memory.
func TestBounds(t *testing.T) {
	n := startPool(t, newChainWorld(t))
	n.settle()
	hold := make(chan struct{})
	n.net.set(0, hold) // no transaction is added
	n.join("flood")
	large := plain(keys[0], 0, func(tx *types.DynamicFeeTx) { tx.Data, tx.Gas = make([]byte, 100_000), 8_000_000 })
	for range 100 {
		n.Received("flood", []*types.Transaction{large})
	}
	if queued := n.peers.bytes.Load(); queued > maxIncoming {
		t.Errorf("%d bytes queued", queued)
	}
	if testutil.ToFloat64(n.metrics.dropped.WithLabelValues(droppedIncoming)) == 0 {
		t.Error("nothing dropped")
	}
	close(hold)
	eventually(t, "all is looked at", func() bool { return n.peers.bytes.Load() == 0 })

	l := newAccountCache(common.Hash{1}) // peers leave room for users
	for i := range maxAccounts / 2 {
		l.put(common.BigToAddress(big.NewInt(int64(i))), nil)
	}
	unknown := n.read(t.Context(), accountSource{states: n.net, limit: n.reads}, l, []common.Address{addr(keys[0])})
	if err := unknown[addr(keys[0])]; !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "too many senders") {
		t.Errorf("a peer's account beyond the limit: %v", err)
	}
	unknown = n.read(t.Context(), accountSource{states: n.net}, l, []common.Address{addr(keys[0])})
	if err := unknown[addr(keys[0])]; err == nil || strings.Contains(err.Error(), "too many senders") {
		t.Errorf("a user's account: %v", err) // there is no such root
	}

	slow := newPeer(&fakePeer{id: "slow"})
	hashes := make([]common.Hash, 3*maxQueued)
	if dropped := slow.enqueue(hashes, hashes[:10]); dropped != 2*maxQueued {
		t.Errorf("%d dropped", dropped)
	}
	known := newRecent(100)
	for i := range 1000 {
		known.add(common.Hash{byte(i), byte(i >> 8)})
	}
	if n := len(known.young) + len(known.old); n > 100 || n < 50 {
		t.Errorf("%d hashes remembered", n)
	}
	if !known.has(common.Hash{231, 3}) || known.has(common.Hash{1}) {
		t.Error("it does not remember the newest, or not forget the oldest")
	}
}

// TestSlowPeer: one peer that takes nothing keeps no other from hearing.
func TestSlowPeer(t *testing.T) {
	n := startPool(t, newChainWorld(t))
	n.settle()
	stuck := &fakePeer{id: "stuck", gone: make(chan struct{}), slow: make(chan struct{}), sizes: make(map[common.Hash]uint32)}
	n.Join(stuck)
	first := plain(keys[0], 0)
	if err := n.send(first); err != nil {
		t.Fatal(err)
	}
	quick := n.join("quick")
	eventually(t, "the quick one hears", func() bool { return quick.wasAnnounced(first) || quick.wasSent(first) })
	for i := range uint64(5) {
		if err := n.send(plain(keys[1], i)); err != nil {
			t.Fatal(err)
		}
	}
	close(stuck.slow)
	eventually(t, "the slow one hears in the end", func() bool { return stuck.wasAnnounced(first) || stuck.wasSent(first) })
}
