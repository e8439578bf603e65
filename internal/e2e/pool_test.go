// SPDX-License-Identifier: LGPL-3.0-or-later

package e2e_test

import (
	"context"
	"math/big"
	"path/filepath"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/crypto/kzg4844"
	"github.com/ethereum/go-ethereum/params"
	gethrpc "github.com/ethereum/go-ethereum/rpc"
	"github.com/holiman/uint256"

	"github.com/sunbeam-eth/sunbeam/internal/demo"
	"github.com/sunbeam-eth/sunbeam/internal/stategen"
)

// A node that beams takes transactions from users, whose accounts it has never seen, and gives them
// to geth; it takes geth's; and they leave its pool with the block that includes them.
func TestPool(t *testing.T) {
	w := newNetwork(t)
	port := port(t)
	n := start(t, w, filepath.Join(t.TempDir(), "sunbeam"), "--beam.backfill=false", "--metrics", "--metrics.port", port)
	mustBring(t, n, build(t, w.Builder, someTransactions(w)), time.Minute)
	await(t, n, time.Minute, "peer", func(s status) bool { return s.Peers > 0 })

	theirs := w.Traffic.Block(size[uint64](500_000, 4_000_000), stategen.Mixed())
	for _, tx := range theirs {
		send(t, w.Geth.RPC(), tx)
	}
	ours := w.Traffic.Block(size[uint64](500_000, 4_000_000), stategen.Mixed())
	began := time.Now()
	for _, tx := range ours {
		send(t, n.RPC, tx)
	}
	t.Logf("%d transactions taken one after another in %v; accounts read: %v", len(ours), time.Since(began).Round(time.Millisecond),
		metric(t, port, "beam_pool_accounts_total"))
	awaitPooled(t, "geth", w.Geth.RPC(), ours)
	awaitPooled(t, "sunbeam", n.RPC, theirs)
	t.Logf("all %d have arrived on the other side after %v", len(ours)+len(theirs), time.Since(began).Round(time.Millisecond))

	blobs := withBlobs(t, w, append(ours, theirs...))
	send(t, n.RPC, blobs)
	awaitPooled(t, "geth", w.Geth.RPC(), []*types.Transaction{blobs})
	fromGeth := withBlobs(t, w, append(append(ours, theirs...), blobs))
	send(t, w.Geth.RPC(), fromGeth) // over eth/72: the transaction and the cells of its blob come apart
	awaitPooled(t, "sunbeam", n.RPC, []*types.Transaction{fromGeth})

	stranger, err := crypto.GenerateKey() // with nothing
	if err != nil {
		t.Fatal(err)
	}
	poor, err := types.SignNewTx(stranger, types.LatestSigner(w.Spec.Config()), &types.DynamicFeeTx{
		ChainID: w.Spec.Config().ChainID, Gas: 21000, GasFeeCap: big.NewInt(1e10), GasTipCap: big.NewInt(1e9), To: &common.Address{1}, Value: big.NewInt(1),
	})
	if err != nil {
		t.Fatal(err)
	}
	if ourErr, theirErr := sendRaw(t, n.RPC, poor), sendRaw(t, w.Geth.RPC(), poor); ourErr == nil || theirErr == nil || ourErr.Error() != theirErr.Error() {
		t.Errorf("who has nothing hears %v from us, %v from geth", ourErr, theirErr)
	}

	mustBring(t, n, build(t, w.Builder, append(theirs, ours...)), time.Minute)
	until(t, "empty pool", func(context.Context) bool {
		return metric(t, port, "beam_pool_pending_transactions") == 2 && metric(t, port, "beam_pool_queued_transactions") == 0
	}) // but for those with blobs
	samePending(t, w, n, ours)
	stop(t, n)
}

// withBlobs is a transaction with a blob, of somebody who sent none of the others: an account's
// transactions are with blobs or without.
func withBlobs(t *testing.T, w *demo.Network, others []*types.Transaction) *types.Transaction {
	t.Helper()
	signer := types.LatestSigner(w.Spec.Config())
	busy := make(map[common.Address]bool)
	for _, tx := range others {
		from, err := types.Sender(signer, tx)
		if err != nil {
			t.Fatal(err)
		}
		busy[from] = true
	}
	key := stategen.Sender(0)
	for i := 1; busy[crypto.PubkeyToAddress(key.PublicKey)]; i++ {
		key = stategen.Sender(i)
	}
	blob := new(kzg4844.Blob)
	commitment, err := kzg4844.BlobToCommitment(blob)
	if err != nil {
		t.Fatal(err)
	}
	proofs, err := kzg4844.ComputeCellProofs(blob)
	if err != nil {
		t.Fatal(err)
	}
	sidecar := types.NewBlobTxSidecar(types.BlobSidecarVersion1, []kzg4844.Blob{*blob}, []kzg4844.Commitment{commitment}, proofs)
	var nonce hexutil.Uint64
	if err := w.Geth.RPC().CallContext(t.Context(), &nonce, "eth_getTransactionCount", crypto.PubkeyToAddress(key.PublicKey), "pending"); err != nil {
		t.Fatal(err)
	}
	tx, err := types.SignNewTx(key, signer, &types.BlobTx{
		ChainID: uint256.MustFromBig(w.Spec.Config().ChainID), Nonce: uint64(nonce), Gas: 21000, To: common.Address{1}, BlobFeeCap: uint256.NewInt(params.GWei),
		GasTipCap: uint256.NewInt(params.GWei), GasFeeCap: uint256.NewInt(20 * params.GWei), BlobHashes: sidecar.BlobHashes(), Sidecar: sidecar,
	})
	if err != nil {
		t.Fatal(err)
	}
	return tx
}

// samePending wants the next nonces of senders to be the same on both sides.
func samePending(t *testing.T, w *demo.Network, n *demo.Node, txs []*types.Transaction) {
	t.Helper()
	for _, tx := range txs {
		from, err := types.Sender(types.LatestSigner(w.Spec.Config()), tx)
		if err != nil {
			t.Fatal(err)
		}
		var ours, theirs hexutil.Uint64
		if err := n.RPC.CallContext(t.Context(), &ours, "eth_getTransactionCount", from, "pending"); err != nil {
			t.Fatal(err)
		}
		if err := w.Geth.RPC().CallContext(t.Context(), &theirs, "eth_getTransactionCount", from, "pending"); err != nil {
			t.Fatal(err)
		}
		if ours != theirs {
			t.Errorf("next nonce of %x is %d here, %d there", from, ours, theirs)
		}
	}
}

func sendRaw(t *testing.T, client *gethrpc.Client, tx *types.Transaction) error {
	t.Helper()
	raw, err := tx.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	return client.CallContext(t.Context(), new(common.Hash), "eth_sendRawTransaction", hexutil.Bytes(raw))
}

func send(t *testing.T, client *gethrpc.Client, tx *types.Transaction) {
	t.Helper()
	if err := sendRaw(t, client, tx); err != nil {
		t.Fatalf("transaction %x: %v", tx.Hash(), err)
	}
}

// awaitPooled waits until a node has all of the transactions.
func awaitPooled(t *testing.T, name string, client *gethrpc.Client, txs []*types.Transaction) {
	t.Helper()
	for _, tx := range txs {
		until(t, "transaction at "+name, func(ctx context.Context) bool {
			var found *struct{ Hash common.Hash }
			return client.CallContext(ctx, &found, "eth_getTransactionByHash", tx.Hash()) == nil && found != nil
		})
	}
}

func until(t *testing.T, what string, is func(context.Context) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for !is(ctx) {
		select {
		case <-again.C:
		case <-ctx.Done():
			t.Fatalf("no %s", what)
		}
	}
}
