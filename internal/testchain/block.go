// SPDX-License-Identifier: LGPL-3.0-or-later

package testchain

import (
	"crypto/ecdsa"
	"math/big"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/params"
)

// callGas is the gas limit of [Block.Call].
const callGas = 400_000

// Block is a block that is being built. Transactions are executed as they are added. What
// cannot be added, such as a transaction with a wrong nonce, panics.
type Block struct {
	*core.BlockGen
	config *params.ChainConfig
}

// Send signs a transaction, for the forks that are active in the block, and adds it.
func (b *Block) Send(key *ecdsa.PrivateKey, tx types.TxData) {
	b.AddTx(types.MustSignNewTx(key, types.MakeSigner(b.config, b.Number(), b.Timestamp()), tx))
}

// Call adds a transaction of account 1, which must be [Funded], with value wei.
func (b *Block) Call(to common.Address, value int64, data []byte) {
	b.Send(Key(1), &types.DynamicFeeTx{
		ChainID: b.config.ChainID, Nonce: b.TxNonce(Address(1)), To: &to, Value: big.NewInt(value), Data: data,
		Gas: callGas, GasFeeCap: b.BaseFee(), GasTipCap: new(big.Int),
	})
}
