package trie

import (
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/lru"
)

// maxPlaces bounds what is remembered, to some 32 MB: more than the nodes that are known and not
// yet asked for in a walk by hash with a few requests in flight.
const maxPlaces = 1 << 17

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
	byHash *lru.Cache[common.Hash, Place]
}

// NewPlaces returns an empty index.
func NewPlaces() *Places { return &Places{lru.NewCache[common.Hash, Place](maxPlaces)} }

// Of returns where a node may be.
func (p *Places) Of(hash common.Hash) (Place, bool) { return p.byHash.Get(hash) }

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
			p.byHash.Add(c.Hash, Place{at.Root, at.Owner, path})
			continue
		}
		if at.Owner != (common.Hash{}) || len(path) != KeyLen {
			continue
		}
		key, _ := Span([]byte(path))
		if account, err := decodeAccount(key, c.Value); err == nil && account.Storage != (common.Hash{}) {
			p.byHash.Add(account.Storage, Place{Root: at.Root, Owner: key})
		}
	}
}
