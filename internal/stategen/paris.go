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
	// accountsPerGift and slotsPerGift fit into a block with room to spare.
	accountsPerGift = 2000
	slotsPerGift    = 3000
	// parisGas is what the transactions of one block may use: a geth v1.10 executes it
	// twice within a consensus client's patience.
	parisGas = gasLimit / 5
)

// parisConfig cuts the later forks off.
func parisConfig(config *params.ChainConfig) *params.ChainConfig {
	config.ShanghaiTime, config.CancunTime, config.PragueTime, config.OsakaTime = nil, nil, nil, nil
	config.BPO1Time, config.BPO2Time, config.BPO3Time, config.BPO4Time, config.BPO5Time = nil, nil, nil, nil, nil
	config.AmsterdamTime, config.BlobScheduleConfig = nil, nil
	return config
}

// FillBy makes the state of Paris: build is called for each block, in order, with its time
// and transactions.
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

// parisTransactions deploy the contracts, make senders rich, and fill storage and accounts. All
// are of one account, so that a pool keeps their order.
func (s Spec) parisTransactions() iter.Seq[*types.Transaction] {
	return s.deployThen(func(send sendFunc) {
		for i := range s.Contracts {
			to := Contract(i)
			if !send(&to, 50_000, senderGwei, nil) {
				return
			}
			for from, n := uint64(0), s.SlotsOf(i); from < n; from += slotsPerGift {
				count := min(slotsPerGift, n-from)
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
		for from, n := uint64(0), uint64(s.Accounts); from < n; from += accountsPerGift {
			to, count := Contract(0), min(accountsPerGift, n-from)
			if !send(&to, 50_000+count*37_500, 0, Call{Op: Give, Seed: from, Count: count}.Input()) {
				return
			}
		}
	})
}
