package db

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/ethdb"
	"github.com/sunbeam-eth/sunbeam/trie"
)

// maxMoving bounds the nodes that wait to move to the young generation, in bytes; the
// reader that brings it there writes them.
const maxMoving = 1 << 20

// sizeKey holds a generation's size in its own database: bytes and nodes, 8 bytes each.
// Node keys are 32 bytes long, so it is none.
const sizeKey = "size"

// Hot keeps trie nodes by hash. It implements trie.Local; codes go to the Chain.
type Hot struct {
	codes   *Chain
	places  places
	limit   uint64 // bytes of one generation
	health  *failure
	metrics *hotMetrics
	frozen  bool // opened read-only: nothing moves
	retired atomic.Bool

	writing sync.Mutex // one writer; taken before mu
	mu      struct {
		sync.RWMutex             // held for reading during a local lookup, for writing to turn generations over
		young, old   *generation // old is nil until the first turn
	}
	moving struct {
		sync.Mutex
		nodes map[common.Hash][]byte // found in the old generation, to be written into the young one
		bytes int
	}
}

// generation is one database of nodes. Its size is an upper bound; it is changed under
// Hot.writing and written in the same batch as the nodes.
type generation struct {
	number uint64
	disk   *disk
	mu     sync.Mutex
	size   size
}

type size struct{ bytes, nodes uint64 }

func (g *generation) measure() size {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.size
}

// openHot opens what is there; if the node is done with it, it removes that instead: a process may have been
// killed while it did.
func openHot(places places, codes *Chain, health *failure, retired bool, opts Options) (*Hot, error) {
	total := opts.HotBytes
	if total == 0 {
		total = DefaultHotBytes
	}
	h := &Hot{codes: codes, places: places, limit: total / 2, health: health, frozen: opts.ReadOnly}
	h.moving.nodes = make(map[common.Hash][]byte)
	numbers, err := places.list()
	if err != nil {
		return nil, fmt.Errorf("list generations of the hot store: %w", err)
	}
	// A crash may leave more than two: those that were on their way out.
	for !h.frozen && (len(numbers) > 2 || retired && len(numbers) > 0) {
		if err := places.remove(numbers[0]); err != nil {
			return nil, err
		}
		numbers = numbers[1:]
	}
	if retired {
		h.retired.Store(true)
		h.metrics = newHotMetrics(opts.Registerer, h)
		return h, nil
	}
	if len(numbers) == 0 {
		numbers = []uint64{1}
	}
	if len(numbers) > 1 {
		if h.mu.old, err = h.openGeneration(numbers[len(numbers)-2]); err != nil {
			return nil, err
		}
	}
	if h.mu.young, err = h.openGeneration(numbers[len(numbers)-1]); err != nil {
		return nil, errors.Join(err, h.close())
	}
	h.metrics = newHotMetrics(opts.Registerer, h)
	return h, nil
}

func (h *Hot) openGeneration(number uint64) (*generation, error) {
	kv, path, err := h.places.open(number)
	if err != nil {
		return nil, err
	}
	g := &generation{number: number, disk: &disk{KeyValueStore: kv, path: path, health: h.health}}
	raw, err := g.disk.lookup([]byte(sizeKey))
	if err != nil {
		return nil, errors.Join(err, kv.Close())
	}
	if len(raw) == 16 {
		g.size = size{bytes: binary.BigEndian.Uint64(raw), nodes: binary.BigEndian.Uint64(raw[8:])}
	}
	return g, nil
}

// Node implements trie.Store. Owner and path do not matter: a node is found by its hash. A
// blob that is not what its hash says is a miss.
func (h *Hot) Node(_ common.Hash, _ []byte, hash common.Hash) ([]byte, error) {
	blob, where, err := h.find(hash)
	if err != nil {
		return nil, err
	}
	if blob != nil && crypto.Keccak256Hash(blob) != hash {
		if err := h.drop(hash); err != nil {
			return nil, err
		}
		blob, where = nil, foundCorrupt
	}
	h.metrics.found(where)
	if where == foundOld {
		h.move(hash, blob)
	}
	return blob, nil
}

func (h *Hot) find(hash common.Hash) ([]byte, found, error) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if h.mu.young == nil {
		return nil, foundNone, h.gone()
	}
	blob, err := h.mu.young.disk.lookup(hash[:])
	if err != nil || blob != nil {
		return blob, foundYoung, err
	}
	if h.mu.old == nil {
		return nil, foundNone, nil
	}
	blob, err = h.mu.old.disk.lookup(hash[:])
	if err != nil || blob != nil {
		return blob, foundOld, err
	}
	return nil, foundNone, nil
}

// drop removes a corrupt blob, so that the node is kept when it comes again. Should it have
// come in the meantime, that is one more miss.
func (h *Hot) drop(hash common.Hash) error {
	if h.frozen {
		return nil
	}
	h.mu.RLock()
	defer h.mu.RUnlock()
	for _, g := range []*generation{h.mu.young, h.mu.old} {
		if g == nil {
			continue
		}
		if err := g.disk.Delete(hash[:]); err != nil {
			return h.health.report(g.disk.path, err)
		}
	}
	return nil
}

// move notes a node of the old generation for the young one.
func (h *Hot) move(hash common.Hash, blob []byte) {
	if h.frozen {
		return
	}
	h.moving.Lock()
	if _, ok := h.moving.nodes[hash]; !ok {
		h.moving.nodes[hash] = blob
		h.moving.bytes += len(blob) + common.HashLength
	}
	full := h.moving.bytes >= maxMoving
	h.moving.Unlock()

	if full && h.writing.TryLock() { // else a writer is there, and takes them along
		defer h.writing.Unlock()
		// A failure is reported to DB.Run; the read itself went well.
		_ = h.writeLocked(nil)
	}
}

// PutNodes implements trie.Sink. The nodes are verified by the caller.
func (h *Hot) PutNodes(nodes []trie.Node) error {
	h.writing.Lock()
	defer h.writing.Unlock()
	return h.writeLocked(nodes)
}

// writeLocked writes new nodes and those that move, in one batch.
func (h *Hot) writeLocked(nodes []trie.Node) error {
	young := h.mu.young // only a writer changes it
	if young == nil {
		return h.gone()
	}
	moved := h.takeMoving()
	h.metrics.moved(len(moved))
	b, grown := young.disk.NewBatch(), young.size
	// A node that is written twice counts twice: looking first would cost more than all the
	// rest, and comes up empty nearly always.
	put := func(hash common.Hash, blob []byte) error {
		grown.nodes++
		grown.bytes += uint64(common.HashLength + len(blob))
		return b.Put(hash[:], blob)
	}
	for hash, blob := range moved {
		if err := put(hash, blob); err != nil {
			return err
		}
	}
	for _, node := range nodes {
		if err := put(node.Hash, node.Blob); err != nil {
			return err
		}
	}
	if grown == young.size {
		return nil
	}
	sizes := binary.BigEndian.AppendUint64(nil, grown.bytes)
	if err := b.Put([]byte(sizeKey), binary.BigEndian.AppendUint64(sizes, grown.nodes)); err != nil {
		return err
	}
	if err := b.Write(); err != nil {
		return err
	}
	young.mu.Lock()
	young.size = grown
	young.mu.Unlock()
	if grown.bytes < h.limit {
		return nil
	}
	return h.turnLocked()
}

// gone is what reads and writes return when there is no generation.
func (h *Hot) gone() error {
	if h.retired.Load() {
		return nil
	}
	return ErrClosed
}

// Retire deletes everything: the node has all of its state elsewhere. From then on Hot holds nothing
// and takes nothing.
func (h *Hot) Retire() error {
	h.writing.Lock()
	defer h.writing.Unlock()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.takeMoving()
	if err := h.health.check(); err != nil {
		return err
	}
	if h.mu.young == nil {
		return nil // done before
	}
	h.retired.Store(true)
	young, old := h.mu.young, h.mu.old
	h.mu.young, h.mu.old = nil, nil
	for _, g := range []*generation{old, young} { // in the order of their numbers, as when they turn
		if g == nil {
			continue
		}
		if err := errors.Join(g.disk.Close(), h.places.remove(g.number)); err != nil {
			return h.health.report(g.disk.path, err)
		}
	}
	return nil
}

// revive begins anew after Retire.
func (h *Hot) revive() error {
	h.writing.Lock()
	defer h.writing.Unlock()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.mu.young != nil {
		return nil
	}
	first, err := h.openGeneration(1)
	if err != nil {
		return err
	}
	h.mu.young = first
	h.retired.Store(false)
	return nil
}

func (h *Hot) takeMoving() map[common.Hash][]byte {
	h.moving.Lock()
	defer h.moving.Unlock()
	if len(h.moving.nodes) == 0 {
		return nil
	}
	nodes := h.moving.nodes
	h.moving.nodes, h.moving.bytes = make(map[common.Hash][]byte), 0
	return nodes
}

// turnLocked begins a new young generation and deletes the old one.
func (h *Hot) turnLocked() error {
	next, err := h.openGeneration(h.mu.young.number + 1)
	if err != nil {
		return h.health.report(h.mu.young.disk.path, err)
	}
	h.mu.Lock()
	dropped := h.mu.old
	h.mu.old, h.mu.young = h.mu.young, next
	h.mu.Unlock()
	h.metrics.turned()
	if dropped == nil {
		return nil
	}
	// Readers that had it have let go of mu, so nobody uses it any more.
	if err := errors.Join(dropped.disk.Close(), h.places.remove(dropped.number)); err != nil {
		return h.health.report(dropped.disk.path, err)
	}
	return nil
}

// Code implements trie.Store.
func (h *Hot) Code(hash common.Hash) ([]byte, error) { return h.codes.Code(hash) }

// PutCode implements trie.Sink.
func (h *Hot) PutCode(hash common.Hash, code []byte) error { return h.codes.PutCode(hash, code) }

// Bytes is the size of both generations: keys and values, before compression.
func (h *Hot) Bytes() uint64 {
	young, old := h.generations()
	return young.bytes + old.bytes
}

func (h *Hot) generations() (young, old size) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if h.mu.young != nil {
		young = h.mu.young.measure()
	}
	if h.mu.old != nil {
		old = h.mu.old.measure()
	}
	return young, old
}

func (h *Hot) close() error {
	h.writing.Lock()
	defer h.writing.Unlock()
	h.mu.Lock()
	defer h.mu.Unlock()
	var errs []error
	for _, g := range []*generation{h.mu.young, h.mu.old} {
		if g == nil {
			continue
		}
		if !h.frozen {
			errs = append(errs, g.disk.SyncKeyValue())
		}
		errs = append(errs, g.disk.Close())
	}
	h.mu.young, h.mu.old = nil, nil
	return errors.Join(errs...)
}

// places is where generations live. Numbers are listed in ascending order.
type places interface {
	list() ([]uint64, error)
	open(number uint64) (kv ethdb.KeyValueStore, path string, err error)
	remove(number uint64) error
}
