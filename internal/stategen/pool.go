// SPDX-License-Identifier: LGPL-3.0-or-later

package stategen

import (
	"math/big"
	"sync"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto/kzg4844"
	"github.com/ethereum/go-ethereum/params"
	"github.com/holiman/uint256"
)

const (
	// blobShare is one in so many senders whose transactions all have blobs: a pool allows an account no others then.
	blobShare = 20
	// poolTip is the highest tip in gwei of the transactions of a pool.
	poolTip = 10
	// poolFeeCap is the highest fee in gwei. Nodes refuse to send a transaction that could cost an ether.
	poolFeeCap = 15
)

// Pool makes transactions for a pool, of about the given gas: of the types 0 to 4, with random tips, several of one
// sender in the order of their nonces. The sender of each is random, one in 20 senders has only transactions with blobs, but none before Osaka: go-ethereum's pool
// wants the cell proofs of Osaka in all forks, and its miner the other proofs before.
// The spec must have at least 20 senders.
func (t *Traffic) Pool(gas uint64, mix Mix) []*types.Transaction {
	var txs []*types.Transaction
	for used := uint64(0); used < gas; {
		p := t.plan(mix)
		used += p.use
		if t.spec.Amsterdam { // see sign
			p.limit *= 10
		}
		i := t.random.IntN(len(t.keys))
		txs = append(txs, types.MustSignNewTx(t.keys[i], t.signer, t.pooled(i, p)))
		t.nonces[i]++
	}
	return txs
}

// pooled makes a transaction of a random type.
func (t *Traffic) pooled(sender int, p plan) types.TxData {
	tip := big.NewInt((1 + t.random.Int64N(poolTip)) * params.GWei)
	feeCap, nonce, value := big.NewInt(poolFeeCap*params.GWei), t.nonces[sender], new(big.Int).SetUint64(p.value)
	chainID, tip256, feeCap256 := uint256.MustFromBig(ChainID()), uint256.MustFromBig(tip), uint256.MustFromBig(feeCap)
	if sender%blobShare == 0 && !t.spec.Prague {
		to := common.Address{}
		if p.to != nil { // blobs cannot be sent with a contract's creation
			to = *p.to
		}
		sidecar := blobSidecar()
		return &types.BlobTx{
			ChainID: chainID, Nonce: nonce, GasTipCap: tip256, GasFeeCap: feeCap256, Gas: p.limit, To: to, Value: uint256.MustFromBig(value), Data: p.input,
			BlobFeeCap: uint256.NewInt(100 * params.GWei), BlobHashes: sidecar.BlobHashes(), Sidecar: sidecar,
		}
	}
	switch kind := t.random.IntN(10); {
	case kind < 2:
		price := new(big.Int).Add(big.NewInt(params.GWei), tip)
		return &types.LegacyTx{Nonce: nonce, GasPrice: price, Gas: p.limit, To: p.to, Value: value, Data: p.input}
	case kind == 2 && p.to != nil: // delegates an account that has no code and sends nothing
		auth, err := types.SignSetCode(key("authority", t.random.Uint64()), types.SetCodeAuthorization{ChainID: *chainID, Address: Contract(t.contract())})
		if err != nil {
			panic(err) // the key is valid
		}
		return &types.SetCodeTx{
			ChainID: chainID, Nonce: nonce, GasTipCap: tip256, GasFeeCap: feeCap256, Gas: p.limit + 10*params.CallNewAccountGas, To: *p.to,
			Value: uint256.MustFromBig(value), Data: p.input, AuthList: []types.SetCodeAuthorization{auth},
		}
	}
	return &types.DynamicFeeTx{ChainID: ChainID(), Nonce: nonce, GasTipCap: tip, GasFeeCap: feeCap, Gas: p.limit, To: p.to, Value: value, Data: p.input}
}

// blobSidecar is one blob with its cell proofs (EIP-7594). They take long, so they are made once.
var blobSidecar = sync.OnceValue(func() *types.BlobTxSidecar {
	blob := new(kzg4844.Blob)
	commitment, err := kzg4844.BlobToCommitment(blob)
	if err != nil {
		panic(err) // the blob is valid
	}
	proofs, err := kzg4844.ComputeCellProofs(blob)
	if err != nil {
		panic(err)
	}
	return types.NewBlobTxSidecar(types.BlobSidecarVersion1, []kzg4844.Blob{*blob}, []kzg4844.Commitment{commitment}, proofs)
})
