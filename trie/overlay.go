// SPDX-License-Identifier: LGPL-3.0-or-later

package trie

import (
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
)

// overlay is a Local in front of a CompleteStore.
type overlay struct {
	Local
	complete CompleteStore
}

// Overlay returns local with complete as its fallback for nodes. The node that complete has at a path
// may belong to another state, so it counts only if it has the wanted hash.
func Overlay(local Local, complete CompleteStore) Local { return overlay{local, complete} }

// Node implements [Store].
func (o overlay) Node(owner common.Hash, path []byte, hash common.Hash) ([]byte, error) {
	blob, err := o.Local.Node(owner, path, hash)
	if err != nil || blob != nil {
		return blob, err
	}
	blob, err = o.complete.Node(owner, path)
	if err != nil || blob == nil || crypto.Keccak256Hash(blob) != hash {
		return nil, err
	}
	return blob, nil
}
