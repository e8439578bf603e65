// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto/kzg4844"
	"github.com/ethereum/go-ethereum/params"
	gethrpc "github.com/ethereum/go-ethereum/rpc"
	"github.com/holiman/uint256"

	"github.com/sunbeam-eth/sunbeam/internal/gethpeer"
	"github.com/sunbeam-eth/sunbeam/internal/testchain"
	"github.com/sunbeam-eth/sunbeam/pool"
)

var _ Blobs = (*pool.Pool)(nil)

// blobTx is a transaction of an account with a blob for each of marks, with cell proofs.
func blobTx(t testing.TB, chainID *uint256.Int, account int, marks ...byte) *types.Transaction {
	t.Helper()
	sidecar := types.NewBlobTxSidecar(types.BlobSidecarVersion1, nil, nil, nil)
	for _, mark := range marks {
		blob := new(kzg4844.Blob)
		for i := 31; i < len(blob); i += 32 {
			blob[i] = mark
		}
		blob[1] = mark
		commitment, err := kzg4844.BlobToCommitment(blob)
		if err != nil {
			t.Fatal(err)
		}
		proofs, err := kzg4844.ComputeCellProofs(blob)
		if err != nil {
			t.Fatal(err)
		}
		sidecar.Blobs, sidecar.Commitments, sidecar.Proofs = append(sidecar.Blobs, *blob), append(sidecar.Commitments, commitment), append(sidecar.Proofs, proofs...)
	}
	return types.MustSignNewTx(key(account), types.LatestSignerForChainID(chainID.ToBig()), &types.BlobTx{
		ChainID: chainID, To: common.Address{1}, Gas: 21000, GasTipCap: uint256.NewInt(params.GWei), GasFeeCap: uint256.NewInt(10 * params.GWei),
		BlobFeeCap: uint256.NewInt(params.GWei), BlobHashes: sidecar.BlobHashes(), Sidecar: sidecar,
	})
}

// withPoolOn gives a node a pool on a chain of nothing but genesis.
func withPoolOn(t testing.TB, w *fixtureChain) func(*Config, *Backend) {
	return func(cfg *Config, b *Backend) {
		chain := b.Chain.(*fakeChain)
		chain.w, chain.head = w, 0
		b.States.(*fakeStates).db = testchain.New(w.genesis).DB
		withRunningPool(t)(cfg, b)
		b.Blobs = b.Pool.(*pool.Pool)
	}
}

// TestBlobsSameAsGeth sends the same blob transactions to a geth process and to a node whose state is all fetched, and
// compares the responses to all requests for blobs, byte for byte, in several forks.
func TestBlobsSameAsGeth(t *testing.T) {
	binary, err := gethpeer.Binary(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	id := uint256.MustFromBig(params.MergedTestChainConfig.ChainID)
	two, one := blobTx(t, id, 1, 0x11, 0x12), blobTx(t, id, 2, 0x21) // in all forks: proofs take long
	for _, fork := range []string{"cancun", "prague", "osaka", "amsterdam"} {
		t.Run(fork, func(t *testing.T) {
			w := genesisOnly(fork)
			w.genesis.Alloc = testchain.Genesis(w.config, testchain.Funded(2)).Alloc
			w.blocks[0] = w.genesis.ToBlock()
			geth, err := gethpeer.Start(t.Context(), gethpeer.Config{Binary: binary, Dir: filepath.Join(t.TempDir(), "geth"), Genesis: w.genesis, CacheMB: 64})
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := geth.Close(); err != nil {
					t.Error(err)
				}
			}()
			ours := newFakeNode(t, withPoolOn(t, w)).client(t)
			for _, tx := range []*types.Transaction{two, one} {
				sendBlobs(t, geth.RPC(), tx)
				sendBlobs(t, ours, tx)
			}
			for _, c := range blobCalls(append(two.BlobHashes(), one.BlobHashes()...)) {
				want, got := response(geth.RPC(), c), response(ours, c)
				if got != want || strings.HasPrefix(got, "error -32601") {
					t.Errorf("%.300s\n got %.300s (%d bytes)\nwant %.300s (%d bytes)", c, got, len(got), want, len(want))
				}
			}
			checkBlobs(t, ours, fork, two)
		})
	}
}

// sendBlobs sends a transaction until the blob pool is open.
func sendBlobs(t testing.TB, client *gethrpc.Client, tx *types.Transaction) {
	t.Helper()
	raw, err := tx.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		got := response(client, rpcCall{"eth_sendRawTransaction", []any{hexutil.Bytes(raw)}})
		if strings.Contains(got, tx.Hash().Hex()) {
			return
		}
		if !strings.Contains(got, "being opened") || time.Now().After(deadline) {
			t.Fatalf("transaction not accepted: %s", got)
		}
	}
}

// blobCalls are requests for blobs of which the pools have a, b and c, the first two of one transaction.
func blobCalls(hashes []common.Hash) (calls []rpcCall) {
	a, b, c, absent := hashes[0], hashes[1], hashes[2], common.Hash{1, 0xab}
	many := slices.Repeat([]common.Hash{absent}, 127)
	lists := []any{
		[]common.Hash{},
		[]common.Hash{a},
		[]common.Hash{a, b, c},
		[]common.Hash{c, a},
		[]common.Hash{a, absent, c},
		[]common.Hash{absent},
		[]common.Hash{b, b},
		append([]common.Hash{b}, many...), append([]common.Hash{b, a}, many...), nil, "0x1",
		[]string{"0x12"},
		7,
		object{},
	}
	for _, method := range []string{"engine_getBlobsV1", "engine_getBlobsV2", "engine_getBlobsV3", "engine_hasBlobs"} {
		for _, list := range lists {
			calls = append(calls, rpcCall{method, []any{list}})
		}
		calls = append(calls, rpcCall{method, nil}, rpcCall{method, []any{lists[1], lists[1]}})
	}
	columns := []any{types.CustodyBitmapAll, types.CustodyBitmapData, types.CustodyBitmap{}, types.NewCustodyBitmap([]uint64{0, 5, 64, 127}), nil, "0x01", "01", 3}
	for _, mask := range columns {
		for _, list := range lists[:9] {
			calls = append(calls, rpcCall{"engine_getBlobsV4", []any{list, mask}})
		}
	}
	for _, list := range lists[9:] {
		calls = append(calls, rpcCall{"engine_getBlobsV4", []any{list, columns[3]}})
	}
	return append(calls, rpcCall{"engine_getBlobsV4", nil}, rpcCall{"engine_getBlobsV4", []any{lists[1]}})
}

// checkBlobs makes sure that the comparison is not one of nothing with nothing.
func checkBlobs(t *testing.T, ours *gethrpc.Client, fork string, tx *types.Transaction) {
	t.Helper()
	for method, params := range map[string][]any{"engine_getBlobsV2": {tx.BlobHashes()}, "engine_getBlobsV3": {tx.BlobHashes()}, "engine_getBlobsV4": {tx.BlobHashes(), types.CustodyBitmapAll}} {
		got := response(ours, rpcCall{method, params})
		if late := fork == "osaka" || fork == "amsterdam"; late && len(got) < 2*2*len(kzg4844.Blob{}) || !late && got != "null" {
			t.Errorf("%s: %.100s (%d bytes)", method, got, len(got))
		}
	}
	if got := response(ours, rpcCall{"engine_hasBlobs", []any{tx.BlobHashes()}}); got != "[true,true]" {
		t.Errorf("engine_hasBlobs: %s", got)
	}
	names := response(ours, rpcCall{"engine_exchangeCapabilities", []any{[]string{}}})
	for _, method := range []string{"engine_getBlobsV1", "engine_getBlobsV2", "engine_getBlobsV3", "engine_getBlobsV4", "engine_hasBlobs"} {
		if !strings.Contains(names, `"`+method+`"`) {
			t.Errorf("capabilities lack %s: %s", method, names)
		}
	}
}

// TestNoBlobs: a node whose pool is not open yet has no blobs, and says so.
func TestNoBlobs(t *testing.T) {
	n := newFakeNode(t)
	n.chain.w, n.chain.head = genesisOnly("osaka"), 0
	ours := n.client(t)
	hashes := []common.Hash{{1}, {2}}
	for method, want := range map[string]string{"engine_getBlobsV2": "null", "engine_getBlobsV3": "[null,null]", "engine_hasBlobs": "[false,false]"} {
		if got := response(ours, rpcCall{method, []any{hashes}}); got != want {
			t.Errorf("%s: %s", method, got)
		}
	}
	if got := response(ours, rpcCall{"engine_getBlobsV4", []any{hashes, types.CustodyBitmapAll}}); got != "[null,null]" {
		t.Errorf("engine_getBlobsV4: %s", got)
	}
	n.chain.w = genesisOnly("prague")
	if got := response(ours, rpcCall{"engine_getBlobsV1", []any{hashes}}); got != "[null,null]" {
		t.Errorf("engine_getBlobsV1: %s", got)
	}
}
