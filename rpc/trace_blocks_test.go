// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/consensus"
	"github.com/ethereum/go-ethereum/consensus/beacon"
	"github.com/ethereum/go-ethereum/consensus/ethash"
	"github.com/ethereum/go-ethereum/core/rawdb"
	"github.com/ethereum/go-ethereum/core/state"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/core/vm"
	"github.com/ethereum/go-ethereum/eth/tracers"
	"github.com/ethereum/go-ethereum/ethdb"
	"github.com/ethereum/go-ethereum/params"
	gethrpc "github.com/ethereum/go-ethereum/rpc"
	"github.com/ethereum/go-ethereum/triedb"

	"github.com/sunbeam-eth/sunbeam/chain"
	"github.com/sunbeam-eth/sunbeam/internal/realdata"
	"github.com/sunbeam-eth/sunbeam/internal/witnessfile"
	"github.com/sunbeam-eth/sunbeam/trie"
)

// realBlock is a chain of one real block, whose state is fetched from its witness.
type realBlock struct {
	fakeChain
	*witnessfile.File
}

func (b *realBlock) Config() *params.ChainConfig     { return b.File.Config }
func (b *realBlock) CurrentHeader() *types.Header    { return b.File.Block.Header() }
func (b *realBlock) Oldest() uint64                  { return b.File.Block.NumberU64() }
func (b *realBlock) Status(common.Hash) chain.Status { return chain.Executed }

func (b *realBlock) Header(hash common.Hash) *types.Header {
	if hash == b.File.Block.Hash() {
		return b.File.Block.Header()
	}
	header, err := b.File.Header(context.Background(), hash, 0)
	if err != nil {
		return nil
	}
	return header
}

func (b *realBlock) HeaderByNumber(number uint64) *types.Header {
	header := b.File.Block.Header()
	for header != nil && header.Number.Uint64() > number {
		header = b.Header(header.ParentHash)
	}
	return header
}

func (b *realBlock) Block(hash common.Hash) *types.Block {
	if hash == b.File.Block.Hash() {
		return b.File.Block
	}
	return nil
}

func (b *realBlock) Window() uint64 { return 128 }

func (b *realBlock) Open(ctx context.Context, root common.Hash) (StateDatabase, error) {
	return trie.Open(ctx, root, noStore{}, b.File), nil
}

// oracle is go-ethereum's tracing API over a real block and its witness.
type oracle struct {
	*realBlock
	states state.Database
}

func newOracle(b *realBlock) *tracers.API {
	db := rawdb.NewMemoryDatabase()
	for hash, blob := range b.Nodes {
		rawdb.WriteLegacyTrieNode(db, hash, blob)
	}
	for hash, code := range b.Codes {
		rawdb.WriteCode(db, hash, code)
	}
	return tracers.NewAPI(&oracle{realBlock: b, states: state.NewDatabase(triedb.NewDatabase(db, triedb.HashDefaults), nil)})
}

func (o *oracle) ChainConfig() *params.ChainConfig { return o.File.Config }
func (o *oracle) Engine() consensus.Engine         { return beacon.New(ethash.NewFaker()) }
func (o *oracle) CurrentHeader() *types.Header     { return o.realBlock.CurrentHeader() }
func (o *oracle) ChainDb() ethdb.Database          { return nil }
func (o *oracle) TxIndexDone() bool                { return true }
func (o *oracle) RPCGasCap() uint64                { return 0 }

func (o *oracle) HeaderByHash(_ context.Context, hash common.Hash) (*types.Header, error) {
	return o.Header(hash), nil
}

func (o *oracle) HeaderByNumber(_ context.Context, number gethrpc.BlockNumber) (*types.Header, error) {
	if header := o.realBlock.HeaderByNumber(uint64(number)); header != nil {
		return header, nil
	}
	return nil, errors.New("not in the witness")
}

func (o *oracle) BlockByHash(_ context.Context, hash common.Hash) (*types.Block, error) {
	return o.Block(hash), nil
}

func (o *oracle) BlockByNumber(_ context.Context, number gethrpc.BlockNumber) (*types.Block, error) {
	return types.NewBlockWithHeader(o.realBlock.HeaderByNumber(uint64(number))), nil
}

func (o *oracle) StateAtBlock(_ context.Context, block *types.Block, _ *state.StateDB, _, _ bool) (*state.StateDB, tracers.StateReleaseFunc, error) {
	statedb, err := state.New(block.Root(), o.states)
	return statedb, func() {}, err
}

func (o *oracle) GetCanonicalTransaction(common.Hash) (bool, *types.Transaction, common.Hash, uint64, uint64) {
	return false, nil, common.Hash{}, 0, 0
}

func (o *oracle) StateAtTransaction(context.Context, *types.Block, int) (*types.Transaction, vm.BlockContext, *state.StateDB, tracers.StateReleaseFunc, error) {
	return nil, vm.BlockContext{}, nil, nil, errors.New("not needed")
}

// TestTraceRealBlocks traces real blocks whose state is all fetched, and compares the traces with those of go-ethereum's
// API over the whole witness, byte for byte.
func TestTraceRealBlocks(t *testing.T) {
	configs := map[string]string{
		"callTracer": `{"tracer": "callTracer", "tracerConfig": {"withLog": true}}`, "prestateTracer": `{"tracer": "prestateTracer"}`,
		"prestateTracer diff": `{"tracer": "prestateTracer", "tracerConfig": {"diffMode": true}}`, "flatCallTracer": `{"tracer": "flatCallTracer", "tracerConfig": {"convertParityErrors": true}}`,
	}
	small := "1-2675000"
	for _, name := range []string{small, "1-4370000", "1-22615247", "560048-974567"} {
		t.Run(name, func(t *testing.T) {
			file, err := witnessfile.Load(filepath.Join(realdata.Dir(t), "blocks", name+".json.gz"))
			if err != nil {
				t.Fatal(err)
			}
			block := &realBlock{File: file}
			n := newFakeNode(t, func(c *Config, b *Backend) { c.Log, b.Chain, b.States = nil, block, block })
			client, geth := n.client(t), newOracle(block)
			if name == small {
				configs["struct logs"] = `{}`
			}
			for kind, encoded := range configs {
				config := new(tracers.TraceConfig)
				mustUnmarshal(t, []byte(encoded), config)
				got := call[any](t, client, "debug_traceBlockByHash", file.Block.Hash(), config)
				want, err := geth.TraceBlockByHash(t.Context(), file.Block.Hash(), config)
				if err != nil {
					t.Fatal(err)
				}
				var again any
				mustUnmarshal(t, mustJSON(want), &again)
				if mustString(got) != mustString(again) {
					t.Errorf("%s differs", kind)
				}
			}
			delete(configs, "struct logs")

			var flat struct{ calls, nested []flatTrace }
			for _, trace := range call[[]flatTrace](t, client, "trace_block", file.Block.Hash()) {
				if trace.Type != "reward" {
					flat.calls = append(flat.calls, trace)
				}
			}
			for _, tx := range call[[]struct{ Result []flatTrace }](t, client, "debug_traceBlockByHash", file.Block.Hash(), json.RawMessage(configs["flatCallTracer"])) {
				flat.nested = append(flat.nested, tx.Result...)
			}
			compareFlat(t, flat.calls, flat.nested)
		})
	}
}

func mustUnmarshal(t *testing.T, encoded []byte, target any) {
	t.Helper()
	if err := json.Unmarshal(encoded, target); err != nil {
		t.Fatal(err)
	}
}

// TestTraceOfHole traces a real block whose witness lacks an account that a transaction calls. go-ethereum's API takes it for
// an account without code, and returns a trace.
func TestTraceOfHole(t *testing.T) {
	file, err := witnessfile.Load(filepath.Join(realdata.Dir(t), "blocks", "1-22188088.json.gz"))
	if err != nil {
		t.Fatal(err)
	}
	block := &realBlock{File: file}
	client := newFakeNode(t, func(c *Config, b *Backend) { c.Log, b.Chain, b.States = nil, block, block }).client(t)
	hash := file.Block.Hash()
	for _, c := range []rpcCall{
		{"debug_traceBlockByHash", []any{hash}},
		{"debug_traceBlockByHash", []any{hash, object{"tracer": "callTracer"}}},
		{"debug_traceBlockByHash", []any{hash, object{"tracer": "{step: function() {}, fault: function() {}, result: function() { return 1 }}"}}},
		{"debug_intermediateRoots", []any{hash}},
		{"trace_block", []any{hash}},
		{"trace_replayBlockTransactions", []any{hash, []string{"stateDiff"}}},
	} {
		if got := response(client, c); !strings.HasPrefix(got, "error -32002 <nil>: state unavailable: fetch trie node 8a3d287b") {
			t.Errorf("%s: %.300s", c, got)
		}
	}
}
