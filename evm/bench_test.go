// SPDX-License-Identifier: LGPL-3.0-or-later

package evm_test

import (
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/stateless"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/core/vm"

	"github.com/sunbeam-eth/sunbeam/evm"
	"github.com/sunbeam-eth/sunbeam/internal/witnessfile"
	"github.com/sunbeam-eth/sunbeam/trie"
)

var benchBlocks = []string{"1-25134887", "1-21740136", "1-25229957", "11155111-10100112"}

// fresh returns the block without the senders that an earlier execution recovered.
func fresh(file *witnessfile.File) *types.Block {
	body := types.Body{Withdrawals: file.Block.Withdrawals()}
	for _, tx := range file.Block.Transactions() {
		encoded, _ := tx.MarshalBinary()
		again := new(types.Transaction)
		if err := again.UnmarshalBinary(encoded); err != nil {
			panic(err)
		}
		body.Transactions = append(body.Transactions, again)
	}
	return types.NewBlockWithHeader(file.Block.Header()).WithBody(body)
}

// cacheOf is a memory cache with the state of a file.
func cacheOf(file *witnessfile.File) *trie.Cache {
	cache := trie.NewCache(256<<20, nil)
	for hash, blob := range file.Nodes {
		_ = cache.PutNodes([]trie.Node{{Hash: hash, Blob: blob}})
	}
	for hash, code := range file.Codes {
		_ = cache.PutCode(hash, code)
	}
	return cache
}

// BenchmarkExecute executes real blocks with all they need in the memory cache.
func BenchmarkExecute(b *testing.B) {
	for _, name := range benchBlocks {
		b.Run(name, func(b *testing.B) {
			file := load(b, name)
			cache := cacheOf(file)
			for b.Loop() {
				b.StopTimer()
				block := fresh(file)
				executor := evm.NewExecutor(file.Config)
				b.StartTimer()
				result := executor.Execute(b.Context(), evm.Job{
					Block: block, Parent: file.Parent, State: trie.Open(b.Context(), file.PreRoot, cache, nil), Headers: file,
				})
				if result.Outcome != evm.Valid {
					b.Fatal(result.Err)
				}
			}
		})
	}
}

// BenchmarkStateless is go-ethereum's own execution of the same blocks on the same
// witness, for comparison. It leaves out the comparison with the header.
func BenchmarkStateless(b *testing.B) {
	for _, name := range benchBlocks {
		b.Run(name, func(b *testing.B) {
			file := load(b, name)
			w := &stateless.Witness{Headers: file.Headers, Codes: make(map[string]struct{}), State: make(map[string]struct{})}
			for _, code := range file.Codes {
				w.Codes[string(code)] = struct{}{}
			}
			for _, blob := range file.Nodes {
				w.State[string(blob)] = struct{}{}
			}
			for b.Loop() {
				b.StopTimer()
				block := fresh(file)
				header := block.Header()
				header.Root, header.ReceiptHash = common.Hash{}, common.Hash{}
				block = types.NewBlockWithHeader(header).WithBody(*block.Body())
				b.StartTimer()
				if _, _, err := core.ExecuteStateless(b.Context(), file.Config, vm.Config{}, block, w); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
