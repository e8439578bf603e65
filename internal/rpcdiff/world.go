// SPDX-License-Identifier: LGPL-3.0-or-later

package rpcdiff

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	gethrpc "github.com/ethereum/go-ethereum/rpc"
)

// maxSampled is how many blocks a World is made of, in addition to those whose states are asked for.
const maxSampled = 200

// World is what calls are made of.
type World struct {
	Head         uint64
	Oldest       uint64 // lowest block of which states are asked for
	Blocks       []common.Hash
	Transactions []common.Hash
	Addresses    []common.Address
	Topics       []common.Hash
	Recent       []common.Hash // transactions whose blocks can be traced
	Pending      bool          // both nodes build a pending block, of the same transactions
}

// sampledBlock is what a World takes from a block.
type sampledBlock struct {
	Hash         common.Hash
	Miner        common.Address
	Transactions []struct {
		Hash common.Hash
		From common.Address
		To   *common.Address
	}
}

type sampledReceipt struct {
	ContractAddress *common.Address
	Logs            []struct {
		Address common.Address
		Topics  []common.Hash
	}
}

// Explore makes a World of the reference's chain. States are asked for of the newest blocks, so many of them.
func Explore(ctx context.Context, reference *gethrpc.Client, states uint64) (*World, error) {
	var head hexutil.Uint64
	if err := reference.CallContext(ctx, &head, "eth_blockNumber"); err != nil {
		return nil, err
	}
	w := &World{Head: uint64(head)}
	if w.Head >= states {
		w.Oldest = w.Head - states + 1
	}
	step := max(1, w.Head/maxSampled)
	for number := uint64(0); number <= w.Head; number++ {
		if number%step != 0 && number < w.Oldest {
			continue
		}
		if err := w.sample(ctx, reference, number); err != nil {
			return nil, fmt.Errorf("block %d: %w", number, err)
		}
	}
	if len(w.Transactions) == 0 || len(w.Topics) == 0 {
		return nil, errors.New("the chain has no transaction or no log")
	}
	return w, nil
}

func (w *World) sample(ctx context.Context, reference *gethrpc.Client, number uint64) error {
	var block sampledBlock
	var receipts []sampledReceipt
	if err := reference.CallContext(ctx, &block, "eth_getBlockByNumber", hexutil.Uint64(number), true); err != nil {
		return err
	}
	if err := reference.CallContext(ctx, &receipts, "eth_getBlockReceipts", hexutil.Uint64(number)); err != nil {
		return err
	}
	w.Blocks = append(w.Blocks, block.Hash)
	addresses := []common.Address{block.Miner}
	for _, tx := range block.Transactions {
		w.Transactions = append(w.Transactions, tx.Hash)
		if number > w.Oldest {
			w.Recent = append(w.Recent, tx.Hash)
		}
		addresses = append(addresses, tx.From)
		if tx.To != nil {
			addresses = append(addresses, *tx.To)
		}
	}
	for _, receipt := range receipts {
		if receipt.ContractAddress != nil {
			addresses = append(addresses, *receipt.ContractAddress)
		}
		for _, log := range receipt.Logs {
			addresses = append(addresses, log.Address)
			w.Topics = append(w.Topics, log.Topics...)
		}
	}
	for _, address := range addresses {
		if !slices.Contains(w.Addresses, address) {
			w.Addresses = append(w.Addresses, address)
		}
	}
	return nil
}
