// SPDX-License-Identifier: LGPL-3.0-or-later

package logindex

import (
	"context"
	"fmt"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/filtermaps"
	"github.com/ethereum/go-ethereum/core/rawdb"
	"github.com/ethereum/go-ethereum/core/types"
)

// checkedBlocks is how many blocks are looked up at each start, evenly spread over the index.
const checkedBlocks = 64

// startCheck looks in the background whether the index finds logs that the chain has. Filter maps take a row that is lost for an
// empty one, and would leave out what it had: so nothing is searched before. The channel has an error if something is wrong, and is
// closed at the end.
func (x *Index) startCheck(ctx context.Context, maps *filtermaps.FilterMaps) <-chan error {
	result := make(chan error, 1)
	on, exists, err := rawdb.ReadFilterMapsRange(x.cfg.Store)
	if err != nil || !exists || on.BlocksAfterLast <= on.BlocksFirst {
		close(result)
		return result
	}
	go func() {
		defer close(result)
		if err := x.check(ctx, maps, on.BlocksFirst, on.BlocksAfterLast); err != nil {
			result <- err
		}
	}()
	return result
}

// check looks for one log in each of some blocks from first to before end.
func (x *Index) check(ctx context.Context, maps *filtermaps.FilterMaps, first, end uint64) error {
	step := max((end-first)/checkedBlocks, 1)
	for number := end - 1; number >= first && number < end && ctx.Err() == nil; number -= step {
		log := lastLog(x.cfg.Chain.Receipts(x.cfg.Chain.CanonicalHash(number)))
		if log == nil {
			continue
		}
		topics := make([][]common.Hash, len(log.Topics))
		for i, topic := range log.Topics {
			topics[i] = []common.Hash{topic}
		}
		found, err := x.search(ctx, maps, x.cfg.Chain.CurrentHeader(), Query{
			First: number, Last: number, Criteria: Criteria{[]common.Address{log.Address}, topics},
		})
		if err == nil && found.Covers && len(found.Logs) == 0 && x.cfg.Chain.CanonicalHash(number) == log.BlockHash {
			return fmt.Errorf("a log of block %d is not found", number)
		}
	}
	return nil
}

func lastLog(receipts types.Receipts) (last *types.Log) {
	for _, receipt := range receipts {
		if n := len(receipt.Logs); n > 0 {
			last = receipt.Logs[n-1]
		}
	}
	return last
}
