// SPDX-License-Identifier: LGPL-3.0-or-later

package bench

import (
	"context"
	"errors"
	"sync"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	gethrpc "github.com/ethereum/go-ethereum/rpc"
	"golang.org/x/sync/errgroup"
)

// parallelSenders is how many accounts send their transactions at the same time.
const parallelSenders = 16

// send gives transactions to the pools of some nodes, those of one sender in order. A node may have them from another
// already; one that refuses a transaction is reported.
func (o *TestbedOptions) send(ctx context.Context, txs []*types.Transaction, nodes ...*gethrpc.Client) error {
	var group errgroup.Group
	group.SetLimit(parallelSenders)
	bySender := make(map[common.Address][]*types.Transaction)
	for _, tx := range txs {
		from, err := types.Sender(types.LatestSigner(o.State.Config()), tx)
		if err != nil {
			return err
		}
		bySender[from] = append(bySender[from], tx)
	}
	var refused sync.Map
	for _, list := range bySender {
		group.Go(func() error {
			for _, tx := range list {
				raw, err := tx.MarshalBinary()
				if err != nil {
					return err
				}
				for _, node := range nodes {
					if err := node.CallContext(ctx, new(common.Hash), "eth_sendRawTransaction", hexutil.Bytes(raw)); err != nil && ctx.Err() == nil {
						refused.Store(err.Error(), tx.Hash())
					}
				}
			}
			return nil
		})
	}
	err := group.Wait()
	refused.Range(func(reason, hash any) bool {
		if reason != "already known" {
			o.report("transaction %x refused: %v", hash, reason)
		}
		return true
	})
	return errors.Join(err, ctx.Err())
}
