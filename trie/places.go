package trie

import (
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/lru"
)

// What is remembered is bounded, to some 40 MB. The nodes that are known and not yet asked for in a
// walk by hash with a few requests in flight are fewer than maxOpenPlaces.
const (
	maxOpenPlaces  = 1 << 17
	maxAskedPlaces = 1 << 15
)

// Place is where a node is in a state.
type Place struct {
	Root  common.Hash // of the state
	Owner common.Hash // account hash for a storage trie, zero for the account trie
	Path  string      // nibbles, one per byte
}

// Places finds by hash what a store knows by path. Whoever asks for a node by hash has seen the node
// above it, or knows a state root: so it is enough to remember where the children of what was asked for
// are. It is safe for concurrent use.
type Places struct {
	// Whoever walks depth first, as geth's scheduler does, asks last for what it knew first. So what was
	// asked for is kept apart, for others who may walk too: it must not push out what was not.
	open, asked *lru.Cache[common.Hash, Place]
}

// NewPlaces returns an empty index.
func NewPlaces() *Places { return newPlaces(maxOpenPlaces, maxAskedPlaces) }

func newPlaces(open, asked int) *Places {
	return &Places{lru.NewCache[common.Hash, Place](open), lru.NewCache[common.Hash, Place](asked)}
}

// Of returns where a node may be that is asked for.
func (p *Places) Of(hash common.Hash) (Place, bool) {
	at, open := p.open.Get(hash)
	if !open {
		return p.asked.Get(hash)
	}
	p.asked.Add(hash, at) // first, so that it is always in one
	p.open.Remove(hash)
	return at, true
}

// Opened notes what a node refers to: nodes below it, and the storage of accounts. A blob that is no
// node refers to nothing.
func (p *Places) Opened(at Place, blob []byte) {
	children, err := Children(blob)
	if err != nil {
		return
	}
	for _, c := range children {
		path := at.Path + string(c.Path)
		if c.Value == nil {
			p.open.Add(c.Hash, Place{at.Root, at.Owner, path})
			continue
		}
		if at.Owner != (common.Hash{}) || len(path) != KeyLen {
			continue
		}
		key, _ := Span([]byte(path))
		if account, err := decodeAccount(key, c.Value); err == nil && account.Storage != (common.Hash{}) {
			p.open.Add(account.Storage, Place{Root: at.Root, Owner: key})
		}
	}
}
