package trie

import (
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
)

// beside is a Local with a Solid that has what the Local lacks.
type beside struct {
	Local
	solid Solid
}

// WithSolid lets reads go on in solid where local has nothing. What is at a path there may be of
// another state, so it counts only if it has the wanted hash.
func WithSolid(local Local, solid Solid) Local { return beside{local, solid} }

// Node implements [Store].
func (b beside) Node(owner common.Hash, path []byte, hash common.Hash) ([]byte, error) {
	blob, err := b.Local.Node(owner, path, hash)
	if err != nil || blob != nil {
		return blob, err
	}
	blob, err = b.solid.Node(owner, path)
	if err != nil || blob == nil || crypto.Keccak256Hash(blob) != hash {
		return nil, err
	}
	return blob, nil
}
