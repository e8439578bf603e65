// SPDX-License-Identifier: LGPL-3.0-or-later

package beamtest

import (
	"path/filepath"
	"testing"

	"github.com/ethereum/go-ethereum/common"

	"github.com/sunbeam-eth/sunbeam/internal/realdata"
	"github.com/sunbeam-eth/sunbeam/internal/witnessfile"
	"github.com/sunbeam-eth/sunbeam/trie"
)

func LoadWitness(t *testing.T, name string) *witnessfile.File {
	t.Helper()
	file, err := witnessfile.Load(filepath.Join(realdata.Dir(t), "blocks", name+".json.gz"))
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// joinWitness joins a peer that holds the witness, a round trip away.
func JoinWitness(r *Rig, file *witnessfile.File, id string) {
	peer := NewFakePeer(id, RTT)
	peer.Codes = file.Codes
	peer.Nodes = func(root common.Hash, sets [][][]byte, maxLookups int) [][]byte {
		return WitnessNodes(file, root, sets, maxLookups)
	}
	r.Connect(peer)
}

// witnessNodes answers as geth does, as far as lookups go: two for a node, one for none.
func WitnessNodes(file *witnessfile.File, root common.Hash, sets [][][]byte, maxLookups int) (nodes [][]byte) {
	lookups := 0
	add := func(owner common.Hash, compact []byte) bool {
		path, err := trie.DecodePath(compact)
		if err != nil {
			panic(err) // the fetcher sends no such path
		}
		blob := file.PathNode(root, owner, path)
		nodes = append(nodes, blob)
		lookups++
		if len(blob) > 0 {
			lookups++
		}
		return lookups <= maxLookups
	}
	for _, set := range sets {
		if len(set) == 1 {
			if !add(common.Hash{}, set[0]) {
				return nodes
			}
			continue
		}
		lookups += 2
		for _, path := range set[1:] {
			if !add(common.BytesToHash(set[0]), path) {
				return nodes
			}
		}
	}
	return nodes
}
