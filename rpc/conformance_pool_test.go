// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"context"
	"crypto/ecdsa"
	"fmt"
	"math/big"
	"strings"
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

	"github.com/sunbeam-eth/sunbeam/pool"
)

var _ Pool = (*pool.Pool)(nil)

// poolStates opens states for the pool as for queries.
type poolStates struct{ *fakeStates }

func (s poolStates) Open(ctx context.Context, root common.Hash) (pool.StateDatabase, error) {
	return s.fakeStates.Open(ctx, root)
}

// withRunningPool gives a node a pool on the fixture's chain, whose state is all fetched.
func withRunningPool(t testing.TB) func(*Config, *Backend) {
	return func(cfg *Config, b *Backend) {
		cfg.TxFeeCap = 1
		states := poolStates{b.States.(*fakeStates)}
		p := pool.New(pool.Config{
			Chain: b.Chain.(*fakeChain), Users: states, Peers: states, Ready: func() error { return nil },
		})
		ctx, cancel := context.WithCancel(t.Context())
		over := make(chan error, 1)
		go func() { over <- p.Run(ctx) }()
		t.Cleanup(func() {
			cancel()
			if err := <-over; err != nil {
				t.Error(err)
			}
		})
		b.Pool = p
	}
}

// poolTxs are transactions to send, valid and invalid ones, in this order.
func poolTxs() (raws []hexutil.Bytes, hashes []common.Hash) {
	w := mainChain()
	signer := types.LatestSigner(w.config)
	base := w.blocks[mainChainBlocks].BaseFee()
	var nonce uint64
	for _, block := range w.blocks {
		nonce += uint64(len(block.Transactions())) // all are the user's
	}
	put := func(tx *types.Transaction) {
		raw, err := tx.MarshalBinary()
		if err != nil {
			panic(err)
		}
		raws, hashes = append(raws, raw), append(hashes, tx.Hash())
	}
	sign := func(key *ecdsa.PrivateKey, data types.TxData) { put(types.MustSignNewTx(key, signer, data)) }
	dynamic := func(nonce uint64, change ...func(*types.DynamicFeeTx)) *types.DynamicFeeTx {
		tx := &types.DynamicFeeTx{
			ChainID: w.config.ChainID, Nonce: nonce, To: &counterAddr, Gas: 100_000, Value: big.NewInt(7),
			GasTipCap: big.NewInt(params.GWei), GasFeeCap: new(big.Int).Add(base, big.NewInt(2*params.GWei)), Data: []byte{1, 2, 3},
			AccessList: types.AccessList{{Address: counterAddr, StorageKeys: []common.Hash{{1}}}},
		}
		for _, f := range change {
			f(tx)
		}
		return tx
	}
	sign(userKey, dynamic(nonce))
	sign(userKey, dynamic(nonce))                                                                                   // already known
	sign(userKey, dynamic(nonce, func(tx *types.DynamicFeeTx) { tx.Gas++ }))                                        // replacement underpriced
	sign(userKey, dynamic(nonce-1))                                                                                 // nonce too low
	sign(userKey, dynamic(nonce+1, func(tx *types.DynamicFeeTx) { tx.To = nil; tx.Gas = 10 }))                      // intrinsic gas
	sign(userKey, dynamic(nonce+1, func(tx *types.DynamicFeeTx) { tx.GasTipCap = big.NewInt(0) }))                  // price too low
	sign(userKey, dynamic(nonce+1, func(tx *types.DynamicFeeTx) { tx.GasTipCap = big.NewInt(1e18) }))               // tip above fee cap
	sign(userKey, dynamic(nonce+1, func(tx *types.DynamicFeeTx) { tx.Gas = 40_000_000 }))                           // gas limit
	sign(userKey, dynamic(nonce+1, func(tx *types.DynamicFeeTx) { tx.GasFeeCap = big.NewInt(1e14) }))               // fee cap of the node
	sign(userKey, dynamic(nonce+1, func(tx *types.DynamicFeeTx) { tx.Data = make([]byte, 140_000) }))               // too large
	sign(userKey, dynamic(nonce+1, func(tx *types.DynamicFeeTx) { tx.Value = hexInt("0xffffffffffffffffffffff") })) // funds
	sign(key(77), dynamic(0))                                                                                       // no funds
	sign(key(77), dynamic(5))
	put(types.MustSignNewTx(userKey, types.LatestSignerForChainID(big.NewInt(4242)), &types.DynamicFeeTx{ChainID: big.NewInt(4242), Nonce: nonce + 1, Gas: 21000, GasTipCap: big.NewInt(1), GasFeeCap: big.NewInt(1e10)})) // chain
	sign(userKey, &types.LegacyTx{Nonce: nonce + 1, To: &counterAddr, Gas: 100_000, GasPrice: new(big.Int).Add(base, big.NewInt(params.GWei))})
	put(types.MustSignNewTx(userKey, types.HomesteadSigner{}, &types.LegacyTx{Nonce: nonce + 2, Gas: 21000, GasPrice: big.NewInt(1e10), To: &counterAddr})) // not protected
	sign(userKey, &types.AccessListTx{ChainID: w.config.ChainID, Nonce: nonce + 2, Gas: 200_000, GasPrice: new(big.Int).Add(base, big.NewInt(params.GWei)), Data: []byte{0x60, 0}})
	sign(userKey, dynamic(nonce+6)) // queued
	auth, err := types.SignSetCode(key(78), types.SetCodeAuthorization{ChainID: *uint256.MustFromBig(w.config.ChainID), Address: counterAddr})
	if err != nil {
		panic(err)
	}
	setCode := &types.SetCodeTx{
		ChainID: uint256.MustFromBig(w.config.ChainID), Nonce: nonce + 3, To: counterAddr, Gas: 200_000,
		GasTipCap: uint256.NewInt(params.GWei), GasFeeCap: uint256.MustFromBig(new(big.Int).Add(base, big.NewInt(params.GWei))), AuthList: []types.SetCodeAuthorization{auth},
	}
	sign(userKey, setCode)
	none := *setCode
	none.Nonce, none.AuthList = nonce+4, nil
	sign(userKey, &none) // no authorization
	for _, sidecar := range []*types.BlobTxSidecar{nil, oldSidecar()} {
		blob := &types.BlobTx{
			ChainID: uint256.MustFromBig(w.config.ChainID), Nonce: nonce + 4, To: counterAddr, Gas: 21000, GasTipCap: uint256.NewInt(params.GWei),
			GasFeeCap: setCode.GasFeeCap, BlobFeeCap: uint256.NewInt(params.GWei), BlobHashes: []common.Hash{{1}}, Sidecar: sidecar,
		}
		if sidecar != nil {
			blob.BlobHashes = sidecar.BlobHashes()
		}
		sign(userKey, blob) // without blobs; then with them, queued
	}
	raws = append(raws, hexutil.Bytes{0}, hexutil.Bytes{}, raws[0][:len(raws[0])-1], append(raws[0][:len(raws[0]):len(raws[0])], 0))
	return raws, hashes
}

func hexInt(s string) *big.Int { return hexutil.MustDecodeBig(s) }

// oldSidecar has a proof per blob, as before Osaka.
func oldSidecar() *types.BlobTxSidecar {
	blob := new(kzg4844.Blob)
	commitment, err := kzg4844.BlobToCommitment(blob)
	if err != nil {
		panic(err)
	}
	proof, err := kzg4844.ComputeBlobProof(blob, commitment)
	if err != nil {
		panic(err)
	}
	return types.NewBlobTxSidecar(types.BlobSidecarVersion0, []kzg4844.Blob{*blob}, []kzg4844.Commitment{commitment}, []kzg4844.Proof{proof})
}

// TestPoolSameAsGeth sends the same transactions to go-ethereum and to a node whose state is all fetched, and
// compares the responses and the content of both pools.
func TestPoolSameAsGeth(t *testing.T) {
	geth := startGethOn(t, mainChain())
	ours := newFakeNode(t, withRunningPool(t)).client(t)
	raws, hashes := poolTxs()
	compare := func(method string, params ...any) {
		t.Helper()
		c := rpcCall{method, params}
		want, got := response(geth, c), response(ours, c)
		if got != want {
			t.Errorf("%.200s\n got %.1500s\nwant %.1500s", c, got, want)
		}
	}
	nonce := func(client *gethrpc.Client) string {
		return response(client, rpcCall{"eth_getTransactionCount", []any{userAddr, "pending"}})
	}
	nonce(ours) // waits for the pool; the blob pool takes a moment longer
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if !strings.Contains(response(ours, rpcCall{"eth_sendRawTransaction", []any{raws[len(hashes)-2]}}), "being opened") {
			break
		}
	}
	for i, raw := range raws {
		compare("eth_sendRawTransaction", raw)
		for range 100 { // go-ethereum makes transactions executable a moment later
			if nonce(geth) == nonce(ours) {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		if i < len(hashes) {
			compare("eth_getTransactionByHash", hashes[i])
			compare("eth_getRawTransactionByHash", hashes[i])
			compare("eth_getTransactionReceipt", hashes[i])
		}
	}
	for _, addr := range []any{userAddr, counterAddr, crypto.PubkeyToAddress(key(77).PublicKey)} {
		for _, tag := range []string{"pending", "latest"} {
			compare("eth_getTransactionCount", addr, tag)
		}
		compare("txpool_contentFrom", addr)
	}
	for _, method := range []string{"txpool_status", "txpool_content", "txpool_inspect", "eth_pendingTransactions"} {
		compare(method)
	}
	if status := response(ours, rpcCall{method: "txpool_status"}); status != `{"pending":"0x4","queued":"0x2"}` {
		t.Errorf("pool status %s", status)
	}
}

// TestSendUnavailable: whichever fetch fails, a transaction is accepted, or refused as invalid, or the error
// is that it cannot be validated now.
func TestSendUnavailable(t *testing.T) {
	raws, _ := poolTxs()
	n := newFakeNode(t, withRunningPool(t))
	ours := n.client(t)
	response(ours, rpcCall{"eth_getTransactionCount", []any{common.Address{0x99}, "pending"}}) // waits for the pool
	unavailable := 0
	for at := 1; ; at++ {
		n.states.fail(at)
		got := response(ours, rpcCall{"eth_sendRawTransaction", []any{raws[11]}}) // not sent before
		switch {
		case strings.HasPrefix(got, "error -32000 <nil>: state unavailable, try again: "):
			unavailable++
			continue
		case strings.HasPrefix(got, "error -32000 <nil>: insufficient funds for gas * price + value: balance 0, tx cost "):
		default:
			t.Errorf("fetch %d failed: %s", at, got)
		}
		break
	}
	if unavailable == 0 {
		t.Error("no fetch failed")
	}
	without := newFakeNode(t).client(t)
	if got := response(without, rpcCall{"eth_sendRawTransaction", []any{raws[0]}}); got != fmt.Sprintf("error %d <nil>: this node has no transaction pool: send the transaction to another node", codeServer) {
		t.Errorf("without a pool: %s", got)
	}
}
