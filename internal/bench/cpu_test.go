// SPDX-License-Identifier: LGPL-3.0-or-later

package bench

import (
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/stateless"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/core/vm"

	"github.com/sunbeam-eth/sunbeam/evm"
	"github.com/sunbeam-eth/sunbeam/internal/realdata"
	"github.com/sunbeam-eth/sunbeam/internal/witnessfile"
	"github.com/sunbeam-eth/sunbeam/trie"
)

// BenchmarkAgainstStateless executes large real blocks with all state in memory, and with
// go-ethereum's core.ExecuteStateless, by turns. It reports the medians in milliseconds and how often
// theirs goes into ours. By turns, because the machine may have other things to do.
func BenchmarkAgainstStateless(b *testing.B) {
	for _, name := range []string{"1-9069000", "1-17106222", "1-24628607", "1-25229957", "11155111-10100112"} {
		b.Run(name, func(b *testing.B) {
			file, err := witnessfile.Load(filepath.Join(realdata.Dir(b), "blocks", name+".json.gz"))
			if err != nil {
				b.Fatal(err)
			}
			cache, theirWitness := complete(file)
			var ours, theirs []float64
			for b.Loop() {
				block, open := fresh(b, file, false), fresh(b, file, true)
				begin := time.Now()
				result := evm.NewExecutor(file.Config).Execute(b.Context(), evm.Job{
					Block: block, Parent: file.Parent, Headers: file,
					State: trie.Open(b.Context(), file.PreRoot, cache, nil),
				})
				ours = append(ours, float64(time.Since(begin).Microseconds())/1000)
				if result.Outcome != evm.Valid {
					b.Fatal(result.Err)
				}
				begin = time.Now()
				if _, _, err := core.ExecuteStateless(b.Context(), file.Config, vm.Config{}, open, theirWitness); err != nil {
					b.Fatal(err)
				}
				theirs = append(theirs, float64(time.Since(begin).Microseconds())/1000)
			}
			b.ReportMetric(quantile(ours, 0.5), "ms-ours")
			b.ReportMetric(quantile(theirs, 0.5), "ms-stateless")
			b.ReportMetric(quantile(ours, 0.5)/quantile(theirs, 0.5), "ratio")
			b.ReportMetric(slices.Min(ours)/slices.Min(theirs), "ratio-of-best")
		})
	}
}

// complete returns all state that the block needs, for us and for go-ethereum.
func complete(file *witnessfile.File) (*trie.Cache, *stateless.Witness) {
	cache := trie.NewCache(cacheBytes, nil)
	theirs := &stateless.Witness{Headers: file.Headers, Codes: make(map[string]struct{}), State: make(map[string]struct{})}
	for hash, blob := range file.Nodes {
		_ = cache.PutNodes([]trie.Node{{Hash: hash, Blob: blob}}) // memory does not fail
		theirs.State[string(blob)] = struct{}{}
	}
	for hash, code := range file.Codes {
		_ = cache.PutCode(hash, code)
		theirs.Codes[string(code)] = struct{}{}
	}
	return cache, theirs
}

// fresh is the block without the senders that an earlier execution recovered; without the roots that
// go-ethereum computes, if that is wanted.
func fresh(b *testing.B, file *witnessfile.File, open bool) *types.Block {
	b.Helper()
	body := types.Body{Uncles: file.Block.Uncles(), Withdrawals: file.Block.Withdrawals()}
	for _, tx := range file.Block.Transactions() {
		encoded, err := tx.MarshalBinary()
		if err != nil {
			b.Fatal(err)
		}
		again := new(types.Transaction)
		if err := again.UnmarshalBinary(encoded); err != nil {
			b.Fatal(err)
		}
		body.Transactions = append(body.Transactions, again)
	}
	header := file.Block.Header()
	if open {
		header.Root, header.ReceiptHash = common.Hash{}, common.Hash{}
	}
	return types.NewBlockWithHeader(header).WithBody(body)
}
