package trie

import (
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/lru"
	"github.com/ethereum/go-ethereum/crypto"
)

const (
	// cacheShards spreads the lock of the node cache; the last byte of a hash picks
	// the shard. 16 are plenty for the handful of goroutines that execute a block.
	cacheShards = 16

	// entryOverhead is what an entry costs beside its blob, in bytes: its key and some
	// 150 for map and list (go-ethereum measured 137-147 for the same LRU, in core/jumpdest.go).
	entryOverhead = common.HashLength + 150
)

// Cache keeps nodes and codes in memory, by hash, in front of another [Local]. What
// it holds is true: what is put must be verified already, and what the next store
// returns is verified here once. A blob that rotted on disk is therefore a miss, and
// is mended when it is fetched again.
//
// Go-ethereum's LRU does the bounding. Fastcache would spare the garbage collector
// the pointers, but it copies on every read, never gives memory back and starts at
// 32 MB, which is more than most simulated nodes in the tests hold in all.
//
// A Cache is safe for concurrent use.
type Cache struct {
	next  Local // may be nil
	nodes [cacheShards]*lru.SizeConstrainedCache[common.Hash, []byte]
	codes *lru.SizeConstrainedCache[common.Hash, []byte]
}

// NewCache returns a cache of about maxBytes, bookkeeping included, in front of next,
// which may be nil. A quarter is for codes, the rest for nodes.
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

// Over returns a store that looks into the same memory and then into another store.
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

// Passing returns a store that reads the same as this one, for somebody who reads much, and most of it once:
// what is not in the memory of a [Cache] is not kept there, so nothing else has to go.
func Passing(store Store) Store {
	switch s := store.(type) {
	case *Cache:
		return passing{s, s.next}
	case cacheOver:
		return passing(s)
	}
	return store
}

type passing cacheOver

// Node implements [Store].
func (p passing) Node(owner common.Hash, path []byte, hash common.Hash) ([]byte, error) {
	if blob, ok := p.cache.shard(hash).Get(hash); ok || p.next == nil {
		return blob, nil
	}
	return verified(hash)(p.next.Node(owner, path, hash))
}

// Code implements [Store].
func (p passing) Code(hash common.Hash) ([]byte, error) {
	if code, ok := p.cache.codes.Get(hash); ok || p.next == nil {
		return code, nil
	}
	return verified(hash)(p.next.Code(hash))
}

// verified makes a miss of what does not have the hash.
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
