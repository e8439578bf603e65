// SPDX-License-Identifier: LGPL-3.0-or-later

package stategen

import (
	"context"
	"fmt"
	"iter"

	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/params"
)

const (
	// One call makes so many accounts, or fills so many slots: less than a block's gas allows.
	accountsPerCall = 2000
	slotsPerCall    = 3000
	// parisGas is what the transactions of one block may use: a geth v1.10 executes the
	// block twice before the consensus client times out.
	parisGas = gasLimit / 5
)

// parisConfig removes the forks after Paris from config.
func parisConfig(config *params.ChainConfig) *params.ChainConfig {
	config.ShanghaiTime, config.CancunTime, config.PragueTime, config.OsakaTime = nil, nil, nil, nil
	config.BPO1Time, config.BPO2Time, config.BPO3Time, config.BPO4Time, config.BPO5Time = nil, nil, nil, nil, nil
	config.AmsterdamTime, config.BlobScheduleConfig = nil, nil
	return config
}

// FillBy makes a state under the rules of Paris. It calls build for each block in order, with the
// block's timestamp and transactions.
func (s Spec) FillBy(ctx context.Context, build func(ctx context.Context, time uint64, txs []*types.Transaction) error) error {
	if err := s.Check(); err != nil {
		return err
	}
	var (
		txs         []*types.Transaction
		gas, number uint64
	)
	flush := func() error {
		number++
		if err := build(ctx, genesisTime+number*slotSeconds, txs); err != nil {
			return fmt.Errorf("block %d of the state: %w", number, err)
		}
		txs, gas = nil, 0
		return nil
	}
	for tx := range s.parisTransactions() {
		if gas+tx.Gas() > parisGas {
			if err := flush(); err != nil {
				return err
			}
		}
		txs = append(txs, tx)
		gas += tx.Gas()
	}
	if len(txs) == 0 {
		return nil
	}
	return flush()
}

// parisTransactions deploy the contracts, fund the senders, and fill storage and accounts. One account
// sends all of them, so that a transaction pool keeps their order.
func (s Spec) parisTransactions() iter.Seq[*types.Transaction] {
	return s.deployThen(func(send sendFunc) {
		for i := range s.Contracts {
			to := Contract(i)
			if !send(&to, 50_000, senderGwei, nil) {
				return
			}
			for from, n := uint64(0), s.SlotsOf(i); from < n; from += slotsPerCall {
				count := min(slotsPerCall, n-from)
				if !send(&to, 50_000+count*22_700, 0, Call{Op: Fill, Seed: from, Count: count}.Input()) {
					return
				}
			}
		}
		for i := range s.Senders {
			to := crypto.PubkeyToAddress(Sender(i).PublicKey)
			if !send(&to, params.TxGas, senderGwei, nil) {
				return
			}
		}
		for from, n := uint64(0), uint64(s.Accounts); from < n; from += accountsPerCall {
			to, count := Contract(0), min(accountsPerCall, n-from)
			if !send(&to, 50_000+count*37_500, 0, Call{Op: Give, Seed: from, Count: count}.Input()) {
				return
			}
		}
	})
}
