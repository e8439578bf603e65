// SPDX-License-Identifier: LGPL-3.0-or-later

package trie

import (
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/lru"
	"github.com/ethereum/go-ethereum/crypto"
)

const (
	// cacheShards is the number of locks of the node cache; the last byte of a hash selects
	// the shard. 16 are enough for the goroutines that execute a block.
	cacheShards = 16

	// entryOverhead is the cost of an entry without its blob, in bytes: its key and about
	// 150 for map and list (go-ethereum measured 137-147 for the same LRU, in core/jumpdest.go).
	entryOverhead = common.HashLength + 150
)

// Cache keeps nodes and codes in memory, by hash, in front of another [Local]. All its
// entries are verified: callers put only verified blobs, and the cache verifies what the next
// store returns, once. A blob that is corrupt on disk is therefore a miss, and the next fetch
// replaces it.
//
// The size limit is that of go-ethereum's LRU. Fastcache would have fewer pointers for the
// garbage collector, but it copies on every read, never returns memory and starts at 32 MB,
// which is more than most simulated nodes of the tests use in total.
//
// A Cache is safe for concurrent use.
type Cache struct {
	next  Local // may be nil
	nodes [cacheShards]*lru.SizeConstrainedCache[common.Hash, []byte]
	codes *lru.SizeConstrainedCache[common.Hash, []byte]
}

// NewCache returns a cache of about maxBytes, including overhead, in front of next, which may
// be nil. A quarter of the size is for codes, the rest for nodes.
func NewCache(maxBytes int, next Local) *Cache {
	bound := func(n int) *lru.SizeConstrainedCache[common.Hash, []byte] {
		return lru.NewSizeConstrainedCacheWithKeySize[common.Hash, []byte](uint64(max(n, 0)), func(common.Hash) uint64 {
			return entryOverhead
		})
	}
	c := &Cache{next: next, codes: bound(maxBytes / 4)}
	for i := range c.nodes {
		c.nodes[i] = bound(maxBytes / 4 * 3 / cacheShards)
	}
	return c
}

func (c *Cache) shard(hash common.Hash) *lru.SizeConstrainedCache[common.Hash, []byte] {
	return c.nodes[hash[common.HashLength-1]%cacheShards]
}

// Over returns a store that reads the memory of this cache and then another store.
func (c *Cache) Over(next Store) Store { return cacheOver{c, next} }

type cacheOver struct {
	cache *Cache
	next  Store
}

// Node implements [Store].
func (c cacheOver) Node(owner common.Hash, path []byte, hash common.Hash) ([]byte, error) {
	return c.cache.node(c.next, owner, path, hash)
}

// Code implements [Store].
func (c cacheOver) Code(hash common.Hash) ([]byte, error) { return c.cache.code(c.next, hash) }

// WithoutFill returns a store that reads as this one does but does not populate a [Cache]. It is for
// callers that read much and most of it once: their reads evict nothing.
func WithoutFill(store Store) Store {
	switch s := store.(type) {
	case *Cache:
		return withoutFill{s, s.next}
	case cacheOver:
		return withoutFill(s)
	}
	return store
}

type withoutFill cacheOver

// Node implements [Store].
func (p withoutFill) Node(owner common.Hash, path []byte, hash common.Hash) ([]byte, error) {
	if blob, ok := p.cache.shard(hash).Get(hash); ok || p.next == nil {
		return blob, nil
	}
	return verified(hash)(p.next.Node(owner, path, hash))
}

// Code implements [Store].
func (p withoutFill) Code(hash common.Hash) ([]byte, error) {
	if code, ok := p.cache.codes.Get(hash); ok || p.next == nil {
		return code, nil
	}
	return verified(hash)(p.next.Code(hash))
}

// verified turns a blob with another hash into a miss.
func verified(hash common.Hash) func([]byte, error) ([]byte, error) {
	return func(blob []byte, err error) ([]byte, error) {
		if err != nil || len(blob) == 0 || crypto.Keccak256Hash(blob) != hash {
			return nil, err
		}
		return blob, nil
	}
}

// Node implements [Store].
func (c *Cache) Node(owner common.Hash, path []byte, hash common.Hash) ([]byte, error) {
	return c.node(c.next, owner, path, hash)
}

// Code implements [Store].
func (c *Cache) Code(hash common.Hash) ([]byte, error) { return c.code(c.next, hash) }

func (c *Cache) node(next Store, owner common.Hash, path []byte, hash common.Hash) ([]byte, error) {
	if blob, ok := c.shard(hash).Get(hash); ok {
		return blob, nil
	}
	if next == nil {
		return nil, nil
	}
	blob, err := verified(hash)(next.Node(owner, path, hash))
	if blob != nil {
		c.shard(hash).Add(hash, blob)
	}
	return blob, err
}

func (c *Cache) code(next Store, hash common.Hash) ([]byte, error) {
	if code, ok := c.codes.Get(hash); ok {
		return code, nil
	}
	if next == nil {
		return nil, nil
	}
	code, err := verified(hash)(next.Code(hash))
	if code != nil {
		c.codes.Add(hash, code)
	}
	return code, err
}

// PutNodes implements [Sink]: into memory, then into the next store.
func (c *Cache) PutNodes(nodes []Node) error {
	for i := range nodes {
		c.shard(nodes[i].Hash).Add(nodes[i].Hash, nodes[i].Blob)
	}
	if c.next == nil {
		return nil
	}
	return c.next.PutNodes(nodes)
}

// PutCode implements [Sink]: into memory, then into the next store.
func (c *Cache) PutCode(hash common.Hash, code []byte) error {
	c.codes.Add(hash, code)
	if c.next == nil {
		return nil
	}
	return c.next.PutCode(hash, code)
}
