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
	// withdrawalsPerBlock keep a block under the size limit of EIP-7934 (8 MiB).
	withdrawalsPerBlock = 100_000
	// slotsPerFill fit under the gas limit of a transaction (EIP-7825).
	slotsPerFill = 730
	// blockGas is what the transactions of one block of a state may use.
	blockGas = gasLimit / 2

	// settleBlocks follow a large state, with nothing in them: geth keeps the changes of
	// 128 blocks in memory, and reading them back at each start takes long.
	settleBlocks = 130
	largeState   = 100_000 // accounts and slots

	accountGwei = 1_000_000         // 0.001 ether
	senderGwei  = 1_000_000_000_000 // 1,000 ether
)

// block is what one block of a state does.
type block struct {
	withdrawals []*types.Withdrawal
	txs         []*types.Transaction
}

// Fill makes the state: it has the blocks built and made canonical by a geth that stands
// on the genesis. Progress is reported after each block; report may be nil.
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

// withdrawals make senders, give contracts something to pay with, and make accounts.
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

// sendFunc makes the next transaction of the maker. It returns false when no more are wanted.
type sendFunc func(to *common.Address, gas uint64, gwei int64, input []byte) bool

// transactions deploy the contracts, then fill their storage.
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

// deployThen are transactions that deploy the contracts, and then others.
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
			// Data, EIP-3860 words, deposit; and memory for copying it.
			if !send(nil, 100_000+uint64(len(c))*(40+1+params.CreateDataGas), 0, s.initCode(c)) {
				return
			}
		}
		others(send)
	}
}
