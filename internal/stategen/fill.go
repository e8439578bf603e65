// SPDX-License-Identifier: LGPL-3.0-or-later

package stategen

import (
	"context"
	"fmt"
	"iter"
	"math/big"

	"github.com/ethereum/go-ethereum/beacon/engine"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/params"
	gethrpc "github.com/ethereum/go-ethereum/rpc"
)

const (
	// withdrawalsPerBlock keeps a block under the size limit of EIP-7934 (8 MiB).
	withdrawalsPerBlock = 100_000
	// slotsPerFill keeps a transaction under its gas limit (EIP-7825).
	slotsPerFill = 730
	// blockGas bounds the gas of the transactions in one block of a state.
	blockGas = gasLimit / 2

	// settleBlocks is the number of empty blocks after a large state. Geth keeps the changes of 128 blocks
	// in memory, and loading them at each start takes long.
	settleBlocks = 130
	largeState   = 100_000 // accounts and slots together

	accountGwei = 1_000_000         // 0.001 ether
	senderGwei  = 1_000_000_000_000 // 1,000 ether
)

// block is the content of one block of a state.
type block struct {
	withdrawals []*types.Withdrawal
	txs         []*types.Transaction
}

// Fill makes the state: a geth whose head is the genesis builds the blocks and makes them canonical. Fill
// calls report after each block; report may be nil.
func (s Spec) Fill(ctx context.Context, geth *gethrpc.Client, report func(number uint64, gas uint64)) error {
	if err := s.Check(); err != nil {
		return err
	}
	var number uint64
	for b := range s.blocks() {
		number++
		raw := make([]hexutil.Bytes, len(b.txs))
		var gas uint64
		for i, tx := range b.txs {
			enc, err := tx.MarshalBinary()
			if err != nil {
				return err
			}
			raw[i] = enc
			gas += tx.Gas()
		}
		withdrawals := b.withdrawals
		if withdrawals == nil {
			withdrawals = []*types.Withdrawal{}
		}
		attributes := engine.PayloadAttributes{
			Timestamp:   genesisTime + number*slotSeconds,
			Random:      common.BigToHash(new(big.Int).SetUint64(number)),
			Withdrawals: withdrawals,
			BeaconRoot:  &common.Hash{},
		}
		var hash common.Hash
		if err := geth.CallContext(ctx, &hash, "testing_commitBlockV1", attributes, raw, hexutil.Bytes{}); err != nil {
			return fmt.Errorf("build block %d of the state: %w", number, err)
		}
		if report != nil {
			report(number, gas)
		}
	}
	return nil
}

// Blocks is how many blocks Fill makes.
func (s Spec) Blocks() (n int) {
	for range s.blocks() {
		n++
	}
	return n
}

// blocks yields the blocks of the state in order.
func (s Spec) blocks() iter.Seq[block] {
	return func(yield func(block) bool) {
		var b block
		for w := range s.withdrawals() {
			b.withdrawals = append(b.withdrawals, w)
			if len(b.withdrawals) == withdrawalsPerBlock {
				if !yield(b) {
					return
				}
				b = block{}
			}
		}
		var gas uint64
		for tx := range s.transactions() {
			if gas+tx.Gas() > blockGas {
				if !yield(b) {
					return
				}
				b, gas = block{}, 0
			}
			b.txs = append(b.txs, tx)
			gas += tx.Gas()
		}
		if len(b.withdrawals)+len(b.txs) > 0 && !yield(b) {
			return
		}
		if s.Mainnet {
			s.pastTraffic(func(txs []*types.Transaction) bool { return yield(block{txs: txs}) })
			return
		}
		if s.Accounts+s.Slots < largeState {
			return
		}
		for range settleBlocks {
			if !yield(block{}) {
				return
			}
		}
	}
}

// withdrawals fund the senders and contracts, and make the accounts.
func (s Spec) withdrawals() iter.Seq[*types.Withdrawal] {
	return func(yield func(*types.Withdrawal) bool) {
		var index uint64
		give := func(to common.Address, gwei uint64) bool {
			index++
			return yield(&types.Withdrawal{Index: index, Validator: index, Address: to, Amount: gwei})
		}
		for i := range s.Senders {
			if !give(crypto.PubkeyToAddress(Sender(i).PublicKey), senderGwei) {
				return
			}
		}
		for i := range s.Contracts {
			if !give(Contract(i), senderGwei) {
				return
			}
		}
		for i := range s.Accounts {
			if !give(Account(uint64(i)), accountGwei+uint64(i)) {
				return
			}
		}
	}
}

// sendFunc makes the next transaction of the maker. It returns false if the caller should stop.
type sendFunc func(to *common.Address, gas uint64, gwei int64, input []byte) bool

// transactions deploy the contracts and fill their storage.
func (s Spec) transactions() iter.Seq[*types.Transaction] {
	return s.deployThen(func(send sendFunc) {
		for i := range s.Contracts {
			to := Contract(i)
			for from, n := uint64(0), s.SlotsOf(i); from < n; from += slotsPerFill {
				count := min(slotsPerFill, n-from)
				if !send(&to, 50_000+count*22_700, 0, Call{Op: Fill, Seed: from, Count: count}.Input()) {
					return
				}
			}
		}
	})
}

// deployThen yields transactions that deploy the contracts, then those that others sends.
func (s Spec) deployThen(others func(sendFunc)) iter.Seq[*types.Transaction] {
	return func(yield func(*types.Transaction) bool) {
		signer, key := types.LatestSigner(s.Config()), maker()
		var nonce uint64
		send := func(to *common.Address, gas uint64, gwei int64, input []byte) bool {
			tx := types.MustSignNewTx(key, signer, &types.DynamicFeeTx{
				ChainID:   ChainID(),
				Nonce:     nonce,
				GasTipCap: big.NewInt(1),
				GasFeeCap: big.NewInt(1_000 * params.GWei),
				Gas:       gas,
				To:        to,
				Value:     new(big.Int).Mul(big.NewInt(gwei), big.NewInt(params.GWei)),
				Data:      input,
			})
			nonce++
			return yield(tx)
		}
		for i := range s.Contracts {
			c := s.code(i % s.Codes)
			init := s.initCode(c)
			if s.isProxy(i) {
				init = proxyInit(s.implementation(i))
			}
			// Calldata, EIP-3860 words, code deposit, and memory to copy the code.
			if !send(nil, 100_000+uint64(len(c))*(40+1+params.CreateDataGas), 0, init) {
				return
			}
		}
		others(send)
	}
}
