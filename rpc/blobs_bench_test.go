// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/holiman/uint256"

	"github.com/sunbeam-eth/sunbeam/internal/testchain"
)

// BenchmarkGetBlobs requests 21 blobs, as many as a block of BPO2 has at most, JSON included. The pool's cache has no more
// than a block of the chain's fork; it is filled with cells instead of blobs for the requests for cells.
func BenchmarkGetBlobs(b *testing.B) {
	w := genesisOnly("osaka")
	w.genesis.Alloc = testchain.Genesis(w.config, testchain.Funded(7)).Alloc
	w.blocks[0] = w.genesis.ToBlock()
	ours := newFakeNode(b, withPoolOn(b, w)).client(b)
	var hashes []common.Hash
	for i := range byte(7) {
		tx := blobTx(b, uint256.MustFromBig(w.config.ChainID), int(i)+1, 3*i+1, 3*i+2, 3*i+3)
		sendBlobs(b, ours, tx)
		hashes = append(hashes, tx.BlobHashes()...)
	}
	few := types.NewCustodyBitmap([]uint64{1, 20, 40, 60, 80, 100, 120, 127})
	for _, c := range []rpcCall{
		{"engine_hasBlobs", []any{hashes}},
		{"engine_getBlobsV2", []any{hashes}},
		{"engine_getBlobsV3", []any{hashes}},
		{"engine_getBlobsV4", []any{hashes, few}},
		{"engine_getBlobsV4", []any{hashes, types.CustodyBitmapAll}},
	} {
		response(ours, rpcCall{"engine_exchangeCapabilities", []any{[]string{c.method}}})
		response(ours, rpcCall{"engine_hasBlobs", []any{hashes}})
		time.Sleep(time.Second / 2) // until the cache has loaded them
		b.Run(c.method, func(b *testing.B) {
			size := 0
			for b.Loop() {
				size = len(response(ours, c))
			}
			b.ReportMetric(float64(size), "bytes")
		})
	}
}
