// SPDX-License-Identifier: LGPL-3.0-or-later

package db

import (
	"testing"

	"github.com/ethereum/go-ethereum/common"

	"github.com/sunbeam-eth/sunbeam/chain"
	"github.com/sunbeam-eth/sunbeam/trie"
)

// BenchmarkHot writes and reads nodes of a mainnet block's size and number.
func BenchmarkHot(b *testing.B) {
	for _, engine := range []string{LevelDB, Pebble} {
		d, err := Open(b.TempDir(), Options{Engine: engine, CacheMB: 256, Handles: 1024})
		if err != nil {
			b.Fatal(err)
		}
		const perBlock = 5000
		var block uint64
		batch := func(number uint64) (nodes []trie.Node) {
			for i := range uint64(perBlock) {
				nodes = append(nodes, node(number*perBlock+i, 350))
			}
			return nodes
		}
		b.Run(engine+"/put-block", func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				nodes := batch(block)
				block++
				b.StartTimer()
				if err := d.Hot().PutNodes(nodes); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(engine+"/get", func(b *testing.B) {
			nodes, i := batch(0), 0
			for b.Loop() {
				if blob, err := d.Hot().Node(common.Hash{}, nil, nodes[i%perBlock].Hash); err != nil || blob == nil {
					b.Fatalf("%v", err)
				}
				i++
			}
		})
		b.Run(engine+"/miss", func(b *testing.B) {
			for i := uint64(0); b.Loop(); i++ {
				hash := common.Hash{1, byte(i), byte(i >> 8), byte(i >> 16)}
				if blob, err := d.Hot().Node(common.Hash{}, nil, hash); err != nil || blob != nil {
					b.Fatal(err)
				}
			}
		})
		d.Close()
	}
}

// BenchmarkCommit commits and canonicalises blocks one by one.
func BenchmarkCommit(b *testing.B) {
	d, err := Open(b.TempDir(), Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer d.Close()
	c, err := chain.New(d.Chain(), testGenesis)
	if err != nil {
		b.Fatal(err)
	}
	made := newTestBlocks()
	parent := c.Genesis()
	for b.Loop() {
		b.StopTimer()
		block := made.branch(parent, 1, 1)[0]
		b.StartTimer()
		if err := c.Commit(block, made.receiptsOf(block)); err != nil {
			b.Fatal(err)
		}
		if _, err := c.SetHead(block.Hash()); err != nil {
			b.Fatal(err)
		}
		parent = block
	}
}
