// SPDX-License-Identifier: LGPL-3.0-or-later

package trie

import (
	"bytes"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
)

// rootOnly is a CompleteStore with one node.
type rootOnly struct {
	CompleteStore
	blob []byte
}

func (o rootOnly) Node(owner common.Hash, path []byte) ([]byte, error) {
	if owner != (common.Hash{}) || len(path) > 0 {
		return nil, nil
	}
	return o.blob, nil
}

func TestOverlay(t *testing.T) {
	blob, other := []byte("complete"), []byte("elsewhere")
	hash, otherHash := crypto.Keccak256Hash(blob), crypto.Keccak256Hash(other)
	cache := NewCache(1<<20, nil)
	if err := cache.PutNodes([]Node{{Hash: otherHash, Blob: other}}); err != nil {
		t.Fatal(err)
	}
	local := Overlay(cache, rootOnly{blob: blob})
	for _, test := range []struct {
		owner common.Hash
		path  []byte
		hash  common.Hash
		want  []byte
	}{
		{hash: hash, want: blob},
		{hash: otherHash, want: other},      // the local store comes first and ignores paths
		{hash: common.Hash{1}},              // the complete store has another node at the path
		{path: []byte{1}, hash: hash},       // nothing at that path
		{owner: common.Hash{1}, hash: hash}, // nor of that owner
		{owner: common.Hash{1}, hash: otherHash, want: other},
	} {
		got, err := local.Node(test.owner, test.path, test.hash)
		if err != nil || !bytes.Equal(got, test.want) {
			t.Errorf("owner %x path %x hash %x: %q, error %v, want %q", test.owner, test.path, test.hash, got, err, test.want)
		}
	}
}
