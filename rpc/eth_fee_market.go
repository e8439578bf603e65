// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"sync"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/common/math"
	"github.com/ethereum/go-ethereum/consensus/misc/eip1559"
	"github.com/ethereum/go-ethereum/consensus/misc/eip4844"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/params"
	gethrpc "github.com/ethereum/go-ethereum/rpc"
)

// The rules below are those of go-ethereum's eth/gasprice with the settings of a full node. Its Oracle is not
// used: it takes a block that is not stored for an empty one or fails, which a node that beams must not do.
const (
	tipBlocks      = 20   // newest blocks sampled for a tip
	tipPercentile  = 60   // of the sampled tips
	tipsPerBlock   = 3    // lowest tips sampled in a block
	maxFeeBlocks   = 1024 // blocks in one eth_feeHistory
	maxPercentiles = 100  // in one eth_feeHistory

	startTip  = params.GWei / 1000 // suggestion before there are tips to sample, in wei (go-ethereum's miner.DefaultConfig)
	maxTip    = 500 * params.GWei  // highest suggestion, in wei
	ignoreTip = 2 * params.Wei     // lower tips are not sampled
)

var errPercentile = errors.New("invalid reward percentile")

// feeAPI is the part of the eth namespace about fees. It reads stored blocks only.
type feeAPI struct{ b *backend }

// suggestion is the newest tip that was suggested. Blocks without tips count as one with that.
type suggestion struct {
	sync.Mutex
	head common.Hash
	tip  *big.Int
}

// GasPrice suggests a gas price for a legacy transaction, in wei.
func (api *feeAPI) GasPrice() *hexutil.Big {
	tip := api.b.suggestTip()
	if fee := api.b.Chain.CurrentHeader().BaseFee; fee != nil {
		tip.Add(tip, fee)
	}
	return quantity(tip)
}

// MaxPriorityFeePerGas suggests a tip, in wei.
func (api *feeAPI) MaxPriorityFeePerGas() *hexutil.Big { return quantity(api.b.suggestTip()) }

// BaseFee returns the base fee of the next block, null before London.
func (api *feeAPI) BaseFee() *hexutil.Big {
	head, config := api.b.Chain.CurrentHeader(), api.b.Chain.Config()
	if !config.IsLondon(new(big.Int).Add(head.Number, common.Big1)) {
		return nil
	}
	return quantity(eip1559.CalcBaseFee(config, head))
}

// BlobBaseFee returns the base fee for blob gas at the head, null before Cancun.
func (api *feeAPI) BlobBaseFee() *hexutil.Big {
	head := api.b.Chain.CurrentHeader()
	if head.ExcessBlobGas == nil {
		return nil
	}
	return quantity(eip4844.CalcBlobFee(api.b.Chain.Config(), head))
}

// suggestTip is a tip that the pool accepts: a percentile of the tips in the newest stored blocks, or what was suggested
// before where there are none.
func (b *backend) suggestTip() *big.Int {
	last := &b.suggestion
	last.Lock()
	defer last.Unlock()
	if last.tip == nil {
		last.tip = big.NewInt(startTip)
	}
	head := b.Chain.CurrentHeader()
	if hash := head.Hash(); hash != last.head {
		if tips := b.sampleTips(head.Number.Uint64(), last.tip); len(tips) > 0 {
			slices.SortFunc(tips, (*big.Int).Cmp)
			last.tip = tips[(len(tips)-1)*tipPercentile/100]
		}
		if limit := big.NewInt(maxTip); last.tip.Cmp(limit) > 0 {
			last.tip = limit
		}
		last.head = hash
	}
	tip := new(big.Int).SetUint64(b.cfg.MinTip)
	if tip.Cmp(last.tip) < 0 {
		tip.Set(last.tip)
	}
	return tip
}

// sampleTips collects tips from the head down. A block without any counts as one with the last suggestion. For each
// block with one tip, another block is sampled, as long as there may be fewer than twice tipBlocks tips.
func (b *backend) sampleTips(head uint64, last *big.Int) (tips []*big.Int) {
	blocks := min(tipBlocks, head)
	for i := uint64(0); i < blocks; i++ {
		block := b.Chain.BlockByNumber(head - i)
		if block == nil {
			break
		}
		found := cheapestTips(block, b.Chain.Config())
		if len(found) == 0 {
			found = []*big.Int{last}
		}
		left := int(blocks - i - 1)
		if len(found) == 1 && len(tips)+1+left < 2*tipBlocks && blocks < head {
			blocks++
		}
		tips = append(tips, found...)
	}
	return tips
}

// cheapestTips are the lowest tips in a block, without those near zero and those of the fee recipient itself.
func cheapestTips(block *types.Block, config *params.ChainConfig) []*big.Int {
	signer := types.MakeSigner(config, block.Number(), block.Time())
	type paid struct {
		tx  *types.Transaction
		tip *big.Int
	}
	var all []paid
	for _, tx := range block.Transactions() {
		if tip, err := tx.EffectiveGasTip(block.BaseFee()); err == nil && tip.Cmp(big.NewInt(ignoreTip)) >= 0 {
			all = append(all, paid{tx, tip})
		}
	}
	slices.SortStableFunc(all, func(a, b paid) int { return a.tip.Cmp(b.tip) })
	var tips []*big.Int
	for _, p := range all {
		if from, err := types.Sender(signer, p.tx); err != nil || from == block.Coinbase() {
			continue
		}
		if tips = append(tips, p.tip); len(tips) == tipsPerBlock {
			break
		}
	}
	return tips
}

// feeHistory is the result of eth_feeHistory, with an entry per block from Oldest on. The base fees have
// one more, that of the block after the newest.
type feeHistory struct {
	Oldest        *hexutil.Big `json:"oldestBlock"`
	Rewards       []quantities `json:"reward,omitempty"` // tips per block, by percentile
	BaseFees      quantities   `json:"baseFeePerGas,omitempty"`
	GasRatios     []float64    `json:"gasUsedRatio"` // gas used / gas limit
	BlobBaseFees  quantities   `json:"baseFeePerBlobGas,omitempty"`
	BlobGasRatios []float64    `json:"blobGasUsedRatio,omitempty"`
}

type quantities []*hexutil.Big

// FeeHistory returns the fees of up to 1024 blocks, newest last. If one of them is not stored the result is
// error 4444, because the caller could not tell a shorter list from a complete one.
func (api *feeAPI) FeeHistory(ctx context.Context, blocks math.HexOrDecimal64, newest gethrpc.BlockNumber, percentiles []float64) (*feeHistory, error) {
	if blocks == 0 { // before anything is checked, as in go-ethereum
		return &feeHistory{Oldest: new(hexutil.Big)}, nil
	}
	if err := checkPercentiles(percentiles); err != nil {
		return nil, err
	}
	head := api.b.Chain.CurrentHeader().Number.Uint64()
	if newest >= 0 && uint64(newest) > head {
		return nil, fmt.Errorf("request beyond head block: requested %d, head %d", newest, head)
	}
	last, err := api.b.number(newest)
	if err != nil {
		return nil, err
	}
	n := min(uint64(blocks), maxFeeBlocks)
	var pending *types.Block
	var receipts types.Receipts
	if api.b.isPending(newest) {
		pending, receipts, _ = api.b.pendingBlock(ctx, "block") // without one, the history ends with the latest block
	}
	switch {
	case pending != nil:
		last = pending.NumberU64()
	case newest == gethrpc.PendingBlockNumber:
		n-- // the pending block counts and does not exist
	}
	if n == 0 {
		return &feeHistory{Oldest: new(hexutil.Big)}, nil
	}
	n = min(n, last+1)

	result := &feeHistory{Oldest: quantity(new(big.Int).SetUint64(last + 1 - n))}
	for number := last + 1 - n; number <= last; number++ {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if pending != nil && number == last {
			api.add(result, pending.Header(), true)
			if len(percentiles) > 0 {
				result.Rewards = append(result.Rewards, rewardsOf(pending, receipts, percentiles))
			}
			break
		}
		header := api.b.Chain.HeaderByNumber(number)
		if header == nil {
			return nil, errPruned()
		}
		api.add(result, header, number == last)
		if len(percentiles) == 0 {
			continue
		}
		rewards, err := api.rewards(header, percentiles)
		if err != nil {
			return nil, err
		}
		result.Rewards = append(result.Rewards, rewards)
	}
	return result, nil
}

// checkPercentiles checks that percentiles are ascending and between 0 and 100.
func checkPercentiles(percentiles []float64) error {
	if len(percentiles) > maxPercentiles {
		return fmt.Errorf("%w: over the query limit %d", errPercentile, maxPercentiles)
	}
	for i, p := range percentiles {
		if p < 0 || p > 100 {
			return fmt.Errorf("%w: %f", errPercentile, p)
		}
		if i > 0 && p <= percentiles[i-1] {
			return fmt.Errorf("%w: #%d:%f >= #%d:%f", errPercentile, i-1, percentiles[i-1], i, p)
		}
	}
	return nil
}

// add appends the fees of a block, and for the newest also those of the block after it.
func (api *feeAPI) add(result *feeHistory, header *types.Header, newest bool) {
	config := api.b.Chain.Config()
	baseFee, blobFee, blobRatio := new(big.Int), new(big.Int), 0.0
	if header.BaseFee != nil {
		baseFee = header.BaseFee
	}
	if header.ExcessBlobGas != nil {
		blobFee = eip4844.CalcBlobFee(config, header)
	}
	if limit := eip4844.MaxBlobGasPerBlock(config, header.Time); header.BlobGasUsed != nil && limit > 0 {
		blobRatio = float64(*header.BlobGasUsed) / float64(limit)
	}
	result.append(baseFee, blobFee)
	result.GasRatios = append(result.GasRatios, float64(header.GasUsed)/float64(header.GasLimit))
	result.BlobGasRatios = append(result.BlobGasRatios, blobRatio)
	if newest {
		result.append(feesAfter(header, config))
	}
}

func (h *feeHistory) append(baseFee, blobFee *big.Int) {
	h.BaseFees = append(h.BaseFees, quantity(baseFee))
	h.BlobBaseFees = append(h.BlobBaseFees, quantity(blobFee))
}

// feesAfter are the base fees of the child of a block, zero before the fork that introduces them.
func feesAfter(header *types.Header, config *params.ChainConfig) (baseFee, blobFee *big.Int) {
	baseFee, blobFee = new(big.Int), new(big.Int)
	if config.IsLondon(new(big.Int).Add(header.Number, common.Big1)) {
		baseFee = eip1559.CalcBaseFee(config, header)
	}
	if header.ExcessBlobGas != nil {
		excess := eip4844.CalcExcessBlobGas(config, header, header.Time)
		blobFee = eip4844.CalcBlobFee(config, &types.Header{Number: header.Number, Time: header.Time, ExcessBlobGas: &excess})
	}
	return baseFee, blobFee
}

// rewards are the tips of a block at percentiles of its gas used.
func (api *feeAPI) rewards(header *types.Header, percentiles []float64) (quantities, error) {
	block := api.b.Chain.Block(header.Hash())
	if block == nil {
		return nil, errPruned()
	}
	receipts, err := api.b.receipts(block)
	if err != nil {
		return nil, err
	}
	return rewardsOf(block, receipts, percentiles), nil
}

func rewardsOf(block *types.Block, receipts types.Receipts, percentiles []float64) quantities {
	result := make(quantities, len(percentiles))
	if len(receipts) == 0 {
		for i := range result {
			result[i] = new(hexutil.Big)
		}
		return result
	}
	type paid struct {
		gas uint64
		tip *big.Int
	}
	all := make([]paid, len(receipts))
	for i, tx := range block.Transactions() {
		tip, _ := tx.EffectiveGasTip(block.BaseFee())
		all[i] = paid{receipts[i].GasUsed, tip}
	}
	slices.SortStableFunc(all, func(a, b paid) int { return a.tip.Cmp(b.tip) })
	at, sum := 0, all[0].gas
	for i, p := range percentiles {
		threshold := uint64(float64(block.GasUsed()) * p / 100)
		for sum < threshold && at < len(all)-1 {
			at++
			sum += all[at].gas
		}
		result[i] = quantity(all[at].tip)
	}
	return result
}
