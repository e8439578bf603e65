// SPDX-License-Identifier: LGPL-3.0-or-later

package payloadbuilder

import (
	"math/big"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/core/vm/program"
	"github.com/ethereum/go-ethereum/crypto/kzg4844"
	"github.com/ethereum/go-ethereum/params"
	"github.com/holiman/uint256"

	"github.com/sunbeam-eth/sunbeam/internal/testchain"
)

// blobUsers are the last of the users: an account has transactions with blobs or without, never both in a pool.
const blobUsers = 6

// traffic makes random transactions of all types.
type traffic struct {
	random *rand.Rand
	config *params.ChainConfig
	signer types.Signer
	nonces [users + 1]uint64 // next one in the pool, by number of the user
}

func newTraffic(config *params.ChainConfig, seed uint64) *traffic {
	return &traffic{
		random: rand.New(rand.NewPCG(seed, 1)), config: config, signer: types.LatestSigner(config),
	}
}

// next makes a transaction of a random user.
func (r *traffic) next(t *testing.T, baseFee *big.Int) (tx *types.Transaction, user int) {
	t.Helper()
	user = 1 + r.random.IntN(users)
	return types.MustSignNewTx(testchain.Key(user), r.signer, r.data(t, user, r.nonces[user], baseFee)), user
}

// data makes one transaction. It tips up to 50 gwei, a different amount each: which of equal ones geth includes is random
// if blobs run out. It may not pay the base fee.
func (r *traffic) data(t *testing.T, user int, nonce uint64, baseFee *big.Int) types.TxData {
	t.Helper()
	tip := big.NewInt(r.random.Int64N(50 * params.GWei))
	feeCap := new(big.Int).Add(tip, new(big.Int).Mul(baseFee, big.NewInt(int64(1+r.random.IntN(3)))))
	if r.random.IntN(30) == 0 {
		feeCap = new(big.Int).Sub(baseFee, common.Big1)
		tip = new(big.Int)
	}
	to, value, input, gas := r.call()
	tip256, feeCap256 := uint256.MustFromBig(tip), uint256.MustFromBig(feeCap)
	if user > users-blobUsers {
		sidecar := sidecars()[r.random.IntN(3)]
		return &types.BlobTx{
			ChainID: uint256.MustFromBig(r.config.ChainID), Nonce: nonce, To: to, Gas: gas, Value: uint256.MustFromBig(value), Data: input,
			GasTipCap: tip256, GasFeeCap: feeCap256, BlobFeeCap: uint256.NewInt(uint64(1+r.random.IntN(100)) * params.GWei),
			BlobHashes: sidecar.BlobHashes(), Sidecar: sidecar,
		}
	}
	switch r.random.IntN(6) {
	case 0:
		return &types.LegacyTx{Nonce: nonce, To: &to, Gas: gas, Value: value, Data: input, GasPrice: feeCap}
	case 1:
		access := types.AccessList{{Address: writerAddr, StorageKeys: []common.Hash{{31: byte(r.random.IntN(100))}}}}
		return &types.AccessListTx{ChainID: r.config.ChainID, Nonce: nonce, To: &to, Gas: gas + 10_000, Value: value, Data: input, GasPrice: feeCap, AccessList: access}
	case 2:
		authority := 1 + r.random.IntN(users-blobUsers)
		auth, err := types.SignSetCode(testchain.Key(authority), types.SetCodeAuthorization{
			ChainID: *uint256.MustFromBig(r.config.ChainID), Address: counterAddr, Nonce: r.nonces[authority],
		})
		if err != nil {
			t.Fatal(err)
		}
		return &types.SetCodeTx{
			ChainID: uint256.MustFromBig(r.config.ChainID), Nonce: nonce, To: to, Gas: gas + 500_000, Value: uint256.MustFromBig(value), Data: input,
			GasTipCap: tip256, GasFeeCap: feeCap256, AuthList: []types.SetCodeAuthorization{auth},
		}
	case 3:
		return &types.DynamicFeeTx{
			ChainID: r.config.ChainID, Nonce: nonce, Gas: 1_500_000, GasTipCap: tip, GasFeeCap: feeCap,
			Data: program.New().ReturnViaCodeCopy([]byte{1, 2, byte(r.random.IntN(256))}).Bytes(), // creates a contract
		}
	}
	return &types.DynamicFeeTx{ChainID: r.config.ChainID, Nonce: nonce, To: &to, Gas: gas, Value: value, Data: input, GasTipCap: tip, GasFeeCap: feeCap}
}

// call chooses what a transaction does.
func (r *traffic) call() (to common.Address, value *big.Int, input []byte, gas uint64) {
	value = new(big.Int)
	switch r.random.IntN(10) {
	case 0: // clears a slot or sets one
		slot, content := common.Hash{31: byte(r.random.IntN(120))}, common.Hash{31: byte(r.random.IntN(3))}
		return writerAddr, value, append(slot[:], content[:]...), 400_000
	case 1:
		return burnerAddr, value, nil, uint64(100_000 + r.random.IntN(3_000_000))
	case 2:
		return coinbaseAddr, big.NewInt(int64(r.random.IntN(1000))), nil, 400_000
	case 3:
		return counterAddr, value, nil, 400_000
	case 4:
		return reverterAddr, value, nil, 100_000
	case 5: // a withdrawal request (EIP-7002)
		return params.WithdrawalQueueAddress, big.NewInt(1_000_000), make([]byte, 56), 2_000_000
	case 6:
		return params.ConsolidationQueueAddress, big.NewInt(1_000_000), make([]byte, 96), 2_000_000
	case 7:
		return common.Address{1, byte(r.random.IntN(256)), byte(r.random.IntN(256))}, common.Big1, nil, 300_000
	}
	return testchain.FillerAddress(r.random.IntN(300)), common.Big1, nil, 21_000
}

// sidecars have 1 to 3 blobs, with the cell proofs that go-ethereum's pool wants in all forks; it offers none of them before
// Osaka. They are made once: proofs take long. The same blob may be in several transactions.
var sidecars = sync.OnceValue(func() (made []*types.BlobTxSidecar) {
	blob := new(kzg4844.Blob)
	commitment, err := kzg4844.BlobToCommitment(blob)
	if err != nil {
		panic(err)
	}
	cells, err := kzg4844.ComputeCellProofs(blob)
	if err != nil {
		panic(err)
	}
	for n := 1; n <= 3; n++ {
		var (
			blobs       []kzg4844.Blob
			commitments []kzg4844.Commitment
			proofs      []kzg4844.Proof
		)
		for range n {
			blobs, commitments, proofs = append(blobs, *blob), append(commitments, commitment), append(proofs, cells...)
		}
		made = append(made, types.NewBlobTxSidecar(types.BlobSidecarVersion1, blobs, commitments, proofs))
	}
	return made
})
