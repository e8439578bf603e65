// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/beacon/engine"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	gethrpc "github.com/ethereum/go-ethereum/rpc"

	"github.com/sunbeam-eth/sunbeam/beamsync/importer"
	"github.com/sunbeam-eth/sunbeam/chain"
)

// TestEngineTimeout: while the import takes longer than the response timeout, the status is SYNCING.
func TestEngineTimeout(t *testing.T) {
	mainChain()
	synctest.Test(t, func(t *testing.T) {
		for _, test := range []struct {
			fork  string
			limit time.Duration
			want  time.Duration
		}{{"osaka", 0, responseTimeout}, {"amsterdam", 0, responseTimeoutAmsterdam}, {"osaka", responseTimeoutInProc, responseTimeoutInProc}} {
			n := newFakeNode(t, func(c *Config, _ *Backend) { c.Log = nil })
			n.chain.w, n.chain.head, n.engine.hang = genesisOnly(test.fork), 0, true
			api := &engineAPI{b: n.b, limiter: n.engineCalls, maxTimeout: test.limit}
			start := time.Now()
			status, err := newPayload(t, api, test.fork)
			if err != nil || status.Status != engine.SYNCING || time.Since(start) != test.want {
				t.Errorf("%s: %v, %v after %v", test.fork, status, err, time.Since(start))
			}
			start = time.Now()
			update := engine.ForkchoiceStateV1{HeadBlockHash: common.Hash{1}}
			choice, err := api.ForkchoiceUpdatedV4(t.Context(), update, nil, nil)
			if err != nil || choice.PayloadStatus.Status != engine.SYNCING || time.Since(start) != responseTimeoutAmsterdam {
				t.Errorf("%s: %v, %v after %v", test.fork, choice, err, time.Since(start))
			}
		}
	})
}

// newPayload sends an empty block on genesis with the version of its fork.
func newPayload(t *testing.T, api *engineAPI, fork string) (engine.PayloadStatusV1, error) {
	t.Helper()
	block := emptyBlock(api.b.Chain.Genesis(), fork == "amsterdam")
	data := engine.BlockToExecutableData(block, common.Big0, nil, nil).ExecutionPayload
	if fork == "amsterdam" {
		data.BlockAccessList = []byte{0xc0}
		return api.NewPayloadV5(t.Context(), *data, []common.Hash{}, &common.Hash{}, []hexutil.Bytes{})
	}
	return api.NewPayloadV4(t.Context(), *data, []common.Hash{}, &common.Hash{}, []hexutil.Bytes{})
}

func emptyBlock(parent *types.Block, amsterdam bool) *types.Block {
	zero, empty := uint64(0), types.EmptyWithdrawalsHash
	header := &types.Header{
		ParentHash: parent.Hash(), UncleHash: types.EmptyUncleHash, TxHash: types.EmptyTxsHash, ReceiptHash: types.EmptyReceiptsHash, Difficulty: common.Big0,
		Number: common.Big1, Time: parent.Time() + 12, BaseFee: common.Big1, WithdrawalsHash: &empty, BlobGasUsed: &zero, ExcessBlobGas: &zero,
		ParentBeaconRoot: &common.Hash{}, RequestsHash: &types.EmptyRequestsHash,
	}
	if amsterdam {
		hash := common.HexToHash("0x1dcc4de8dec75d7aab85b567b6ccd41ad312451b948a7413f0a142fd40d49347") // keccak256 of the empty list
		header.SlotNumber, header.BlockAccessListHash = &zero, &hash
	}
	return types.NewBlockWithHeader(header).WithBody(types.Body{Withdrawals: []*types.Withdrawal{}})
}

// TestEngine: the importer gets valid blocks, and the caller gets its status, over the in-process client.
func TestEngine(t *testing.T) {
	n := newFakeNode(t)
	n.chain.w, n.chain.head = genesisOnly("osaka"), 0
	block := emptyBlock(n.chain.Genesis(), false)
	hash, why := block.Hash(), "because"
	n.engine.outcome = importer.Outcome{Status: importer.Invalid, LatestValid: &hash, Reason: errors.New(why)}
	client := n.EngineClient()
	defer client.Close()

	data := engine.BlockToExecutableData(block, common.Big0, nil, nil).ExecutionPayload
	var status engine.PayloadStatusV1
	if err := client.Call(&status, "engine_newPayloadV4", data, []common.Hash{}, common.Hash{}, []hexutil.Bytes{}); err != nil {
		t.Fatal(err)
	}
	if status.Status != engine.INVALID || *status.LatestValidHash != hash || *status.ValidationError != why {
		t.Errorf("%+v", status)
	}
	if len(n.engine.blocks) != 1 || n.engine.blocks[0].Hash() != hash {
		t.Errorf("the importer got %v", n.engine.blocks)
	}
	n.engine.outcome, n.engine.err = importer.Outcome{}, fmt.Errorf("%w: %w", chain.ErrNotCanonical, errInjected)
	var choice engine.ForkChoiceResponse
	err := client.Call(&choice, "engine_forkchoiceUpdatedV3", engine.ForkchoiceStateV1{HeadBlockHash: hash}, nil)
	var coded gethrpc.Error
	if !errors.As(err, &coded) || coded.ErrorCode() != -38002 {
		t.Errorf("%v", err)
	}
	var methods []string
	if err := client.Call(&methods, "engine_exchangeCapabilities", []string{}); err != nil {
		t.Fatal(err)
	}
	for _, method := range []string{"engine_newPayloadV5", "engine_forkchoiceUpdatedV4", "engine_getPayloadBodiesByRangeV2", "engine_getClientVersionV1", "engine_getPayloadV6"} {
		if !slices.Contains(methods, method) {
			t.Errorf("%s is not among %v", method, methods)
		}
	}
	var version []engine.ClientVersionV1
	if err := client.Call(&version, "engine_getClientVersionV1", engine.ClientVersionV1{}); err != nil || version[0].Code != "SB" || version[0].Commit != "0x00000000" {
		t.Errorf("%v, %v", version, err)
	}
}
