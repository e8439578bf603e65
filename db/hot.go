// SPDX-License-Identifier: LGPL-3.0-or-later

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

// maxPromoting bounds the nodes that wait for their promotion to the young generation, in bytes. The
// reader that reaches the bound writes them.
const maxPromoting = 1 << 20

// sizeKey is the key of a generation's size in its own database: bytes and nodes, 8 bytes each.
// Keys of nodes are 32 bytes long, so it is not one of them.
const sizeKey = "size"

// Hot stores trie nodes by hash. It implements trie.Local; codes go to the Chain.
type Hot struct {
	codes    *Chain
	store    generationStore
	limit    uint64 // bytes of one generation
	health   *failure
	metrics  *hotMetrics
	readOnly bool // opened read-only: nothing is promoted
	retired  atomic.Bool

	writing sync.Mutex // one writer; taken before mu
	mu      struct {
		sync.RWMutex             // read-locked during a lookup, write-locked to rotate generations
		young, old   *generation // old is nil until the first rotation
	}
	promoting struct {
		sync.Mutex
		nodes map[common.Hash][]byte // found in the old generation, to be written to the young one
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

// openHot opens the generations on disk. For a full node (retired) it removes them: a process may have been killed
// before it had removed all.
func openHot(generations generationStore, codes *Chain, health *failure, retired bool, opts Options) (*Hot, error) {
	h := &Hot{codes: codes, store: generations, limit: max(opts.HotBytes, minHotBytes) / 2, health: health, readOnly: opts.ReadOnly}
	h.promoting.nodes = make(map[common.Hash][]byte)
	numbers, err := generations.list()
	if err != nil {
		return nil, fmt.Errorf("list generations of the hot store: %w", err)
	}
	// A crash may leave more than two: the oldest were about to be removed.
	for !h.readOnly && (len(numbers) > 2 || retired && len(numbers) > 0) {
		if err := generations.remove(numbers[0]); err != nil {
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
	kv, path, err := h.store.open(number)
	if err != nil {
		return nil, err
	}
	g := &generation{number: number, disk: &disk{KeyValueStore: kv, path: path, health: h.health}}
	var raw []byte
	has, err := kv.Has([]byte(sizeKey)) // not through the disk: a broken generation is no reason to stop
	if err == nil && has {
		raw, err = kv.Get([]byte(sizeKey))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("database %s: %w", path, err), kv.Close())
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
		h.promote(hash, blob)
	}
	return blob, nil
}

func (h *Hot) find(hash common.Hash) ([]byte, found, error) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if h.mu.young == nil {
		return nil, foundNone, h.noGeneration()
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

// drop deletes a corrupt blob, so that the next fetch replaces it. If it was replaced meanwhile, that
// costs one more miss.
func (h *Hot) drop(hash common.Hash) error {
	if h.readOnly {
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

// promote queues a node of the old generation to be written to the young one.
func (h *Hot) promote(hash common.Hash, blob []byte) {
	if h.readOnly {
		return
	}
	h.promoting.Lock()
	if _, ok := h.promoting.nodes[hash]; !ok {
		h.promoting.nodes[hash] = blob
		h.promoting.bytes += len(blob) + common.HashLength
	}
	full := h.promoting.bytes >= maxPromoting
	h.promoting.Unlock()

	if full && h.writing.TryLock() { // otherwise a writer is active and writes them too
		defer h.writing.Unlock()
		// A failure is reported to DB.Run; the read itself succeeded.
		_ = h.writeLocked(nil)
	}
}

// PutNodes implements trie.Sink. The nodes are verified by the caller.
func (h *Hot) PutNodes(nodes []trie.Node) error {
	h.writing.Lock()
	defer h.writing.Unlock()
	return h.writeLocked(nodes)
}

// writeLocked writes new and promoted nodes in one batch.
func (h *Hot) writeLocked(nodes []trie.Node) error {
	young := h.mu.young // only a writer changes it
	if young == nil {
		return h.noGeneration()
	}
	moved := h.takePromoting()
	h.metrics.promoted(len(moved))
	b, grown := young.disk.NewBatch(), young.size
	// A node that is written twice counts twice: a lookup before each write would cost more than
	// everything else here, and is a miss nearly always.
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
	return h.rotateLocked()
}

// noGeneration is the error of reads and writes when there is no generation.
func (h *Hot) noGeneration() error {
	if h.retired.Load() {
		return nil
	}
	return ErrClosed
}

// Retire deletes all generations, because the node has its state in Full. From then on every read is a
// miss, and writes are ignored.
func (h *Hot) Retire() error {
	h.writing.Lock()
	defer h.writing.Unlock()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.takePromoting()
	if err := h.health.check(); err != nil {
		return err
	}
	if h.mu.young == nil {
		return nil // already retired
	}
	h.retired.Store(true)
	young, old := h.mu.young, h.mu.old
	h.mu.young, h.mu.old = nil, nil
	for _, g := range []*generation{old, young} { // in the order of their numbers, as in a rotation
		if g == nil {
			continue
		}
		if err := errors.Join(g.disk.Close(), h.store.remove(g.number)); err != nil {
			return h.health.report(g.disk.path, err)
		}
	}
	return nil
}

// reopen makes Hot usable again after Retire.
func (h *Hot) reopen() error {
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

func (h *Hot) takePromoting() map[common.Hash][]byte {
	h.promoting.Lock()
	defer h.promoting.Unlock()
	if len(h.promoting.nodes) == 0 {
		return nil
	}
	nodes := h.promoting.nodes
	h.promoting.nodes, h.promoting.bytes = make(map[common.Hash][]byte), 0
	return nodes
}

// rotateLocked begins a new young generation and deletes the old one.
func (h *Hot) rotateLocked() error {
	next, err := h.openGeneration(h.mu.young.number + 1)
	if err != nil {
		return h.health.report(h.mu.young.disk.path, err)
	}
	h.mu.Lock()
	dropped := h.mu.old
	h.mu.old, h.mu.young = h.mu.young, next
	h.mu.Unlock()
	h.metrics.rotated()
	if dropped == nil {
		return nil
	}
	// Readers of it have released mu, so it is no longer in use.
	if err := errors.Join(dropped.disk.Close(), h.store.remove(dropped.number)); err != nil {
		return h.health.report(dropped.disk.path, err)
	}
	return nil
}

// Code implements trie.Store.
func (h *Hot) Code(hash common.Hash) ([]byte, error) { return h.codes.Code(hash) }

// PutCode implements trie.Sink.
func (h *Hot) PutCode(hash common.Hash, code []byte) error { return h.codes.PutCode(hash, code) }

// Bytes returns the size of both generations: keys and values, before compression.
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
		if !h.readOnly {
			errs = append(errs, g.disk.SyncKeyValue())
		}
		errs = append(errs, g.disk.Close())
	}
	h.mu.young, h.mu.old = nil, nil
	return errors.Join(errs...)
}

// generationStore opens and removes generations by number. list returns them in ascending order.
type generationStore interface {
	list() ([]uint64, error)
	open(number uint64) (kv ethdb.KeyValueStore, path string, err error)
	remove(number uint64) error
}
