// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"bytes"
	"encoding/json"
	"errors"
	"math/big"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/beacon/engine"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	gethrpc "github.com/ethereum/go-ethereum/rpc"

	"github.com/sunbeam-eth/sunbeam/beamsync/importer"
)

// mustJSON encodes a value of a test.
func mustJSON(v any) []byte {
	encoded, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return encoded
}

// checkRoundTrip checks that a decoded value is the same after it is encoded and decoded again.
func checkRoundTrip[T any](t *testing.T, value T) {
	t.Helper()
	var again T
	encoded := mustJSON(value)
	if err := json.Unmarshal(encoded, &again); err != nil {
		t.Fatalf("%T does not decode again: %v\n%s", value, err, encoded)
	}
	if !reflect.DeepEqual(value, again) || !bytes.Equal(encoded, mustJSON(again)) {
		t.Fatalf("%T changed:\n%s\n%s", value, encoded, mustJSON(again))
	}
}

// payloadCall are the parameters of engine_newPayload, version 1 to 5.
type payloadCall struct {
	version  uint8
	data     engine.ExecutableData
	hashes   []common.Hash
	root     *common.Hash
	requests []hexutil.Bytes
}

// make calls the version that the call is for.
func (c *payloadCall) make(t *testing.T, api *engineAPI) (engine.PayloadStatusV1, error) {
	switch c.version {
	case 1:
		return api.NewPayloadV1(t.Context(), c.data)
	case 2:
		return api.NewPayloadV2(t.Context(), c.data)
	case 3:
		return api.NewPayloadV3(t.Context(), c.data, c.hashes, c.root)
	case 4:
		return api.NewPayloadV4(t.Context(), c.data, c.hashes, c.root, c.requests)
	}
	return api.NewPayloadV5(t.Context(), c.data, c.hashes, c.root, c.requests)
}

// block converts the payload with go-ethereum, which for older versions ignores the newer parameters. If anyHash is
// set the block hash may be wrong.
func (c *payloadCall) block(anyHash bool) (*types.Block, error) {
	if slices.Contains(c.data.Withdrawals, nil) {
		return nil, errors.New("null withdrawal") // go-ethereum panics
	}
	hashes, root, requests := c.hashes, c.root, [][]byte(nil)
	if c.version < 3 {
		hashes, root = nil, nil
	}
	if c.version > 3 {
		requests = make([][]byte, len(c.requests))
		for i, request := range c.requests {
			requests[i] = request
		}
	}
	if anyHash {
		return engine.ExecutableDataToBlockNoHash(c.data, hashes, root, requests)
	}
	return engine.ExecutableDataToBlock(c.data, hashes, root, requests)
}

// payloadNodes are nodes at genesis, in the fork of each version of newPayload.
func payloadNodes(t *testing.T) (nodes []*fakeNode) {
	for _, fork := range []string{"paris", "shanghai", "cancun", "osaka", "amsterdam"} {
		n := newFakeNode(t, func(c *Config, _ *Backend) { c.Log = nil })
		n.chain.w, n.chain.head = genesisOnly(fork), 0
		n.engine.outcome = importer.Outcome{Status: importer.Valid}
		nodes = append(nodes, n)
	}
	return nodes
}

// FuzzNewPayload: a payload that go-ethereum converts to a block reaches the importer as this block. Another one is
// refused, or is INVALID without a latest valid hash. What decodes is the same after encoding, bodies too.
func FuzzNewPayload(f *testing.F) {
	for i, fork := range []string{"paris", "shanghai", "cancun", "osaka", "amsterdam"} {
		block := emptyBlock(genesisOnly(fork).blocks[0], fork == "amsterdam")
		data := engine.BlockToExecutableData(block, common.Big0, nil, nil).ExecutionPayload
		if fork == "amsterdam" {
			data.BlockAccessList = []byte{0xc0}
		}
		f.Add(uint8(i), mustJSON(data), []byte("[]"), []byte(`"0x`+strings.Repeat("0", 64)+`"`), []byte("[]"), i%2 == 0)
	}
	for i, block := range mainChain().blocks[1:] {
		var hashes []common.Hash
		for _, tx := range block.Transactions() {
			hashes = append(hashes, tx.BlobHashes()...)
		}
		data := engine.BlockToExecutableData(block, common.Big0, nil, nil).ExecutionPayload
		f.Add(uint8(2+i%3), mustJSON(data), mustJSON(hashes), mustJSON(block.BeaconRoot()), []byte(`["0x0001","0x0102"]`), i%2 == 0)
	}
	var nodes []*fakeNode
	f.Fuzz(func(t *testing.T, version uint8, payload, hashes, root, requests []byte, fixHash bool) {
		if nodes == nil {
			nodes = payloadNodes(t)
		}
		c := payloadCall{version: version%5 + 1}
		for into, encoded := range map[any][]byte{&c.data: payload, &c.hashes: hashes, &c.root: root, &c.requests: requests} {
			if json.Unmarshal(encoded, into) != nil {
				return
			}
		}
		checkRoundTrip(t, c.data)
		if fixHash {
			if block, err := c.block(true); err == nil {
				c.data.BlockHash = block.Hash()
			}
		}
		n := nodes[c.version-1]
		n.engine.blocks = nil
		status, err := c.make(t, &engineAPI{b: n.b, limiter: n.engineCalls})
		checkPayloadStatus(t, &c, n, status, err)
	})
}

func checkPayloadStatus(t *testing.T, c *payloadCall, n *fakeNode, status engine.PayloadStatusV1, err error) {
	t.Helper()
	if err != nil {
		var coded gethrpc.Error
		if !errors.As(err, &coded) || len(n.engine.blocks) > 0 {
			t.Fatalf("%v, and the importer got %d blocks", err, len(n.engine.blocks))
		}
		return
	}
	block, err := c.block(false)
	if err != nil {
		if status.Status != engine.INVALID || status.LatestValidHash != nil || len(n.engine.blocks) > 0 {
			t.Fatalf("got %+v and %d blocks, want INVALID: %v", status, len(n.engine.blocks), err)
		}
		return
	}
	if status.Status != engine.VALID || len(n.engine.blocks) != 1 || n.engine.blocks[0].Hash() != block.Hash() || block.Hash() != c.data.BlockHash {
		t.Fatalf("got %+v and blocks %v, want %x", status, n.engine.blocks, block.Hash())
	}
	body := (&engineAPI{b: n.b}).body(n.engine.blocks[0])
	checkRoundTrip(t, *body)
	if len(body.TransactionData) != len(c.data.Transactions) || len(body.Withdrawals) != len(c.data.Withdrawals) {
		t.Fatalf("a body with %d transactions, %d withdrawals", len(body.TransactionData), len(body.Withdrawals))
	}
	for i, tx := range body.TransactionData {
		if !bytes.Equal(tx, c.data.Transactions[i]) {
			t.Fatalf("transaction %d changed from %x to %x", i, c.data.Transactions[i], tx)
		}
	}
}

// engineMethods are the methods of FuzzEngineRequest.
func engineMethods() []string {
	return []string{
		"engine_getPayloadBodiesByHashV1", "engine_getPayloadBodiesByHashV2", "engine_getPayloadBodiesByRangeV1",
		"engine_getPayloadBodiesByRangeV2", "engine_forkchoiceUpdatedV1", "engine_forkchoiceUpdatedV2", "engine_forkchoiceUpdatedV3",
		"engine_forkchoiceUpdatedV4", "engine_newPayloadV1", "engine_newPayloadV2", "engine_newPayloadV3", "engine_newPayloadV4",
		"engine_newPayloadV5", "engine_exchangeCapabilities", "engine_getClientVersionV1", "engine_getPayloadV4", "engine_getPayloadV6",
	}
}

// FuzzEngineRequest: no parameters crash a method of the Engine API. Bodies are those of the stored blocks.
func FuzzEngineRequest(f *testing.F) {
	methods := engineMethods()
	for _, c := range slices.Concat(engineConformance(), engineCallsOn(genesisOnly("osaka")), engineCallsOn(genesisOnly("amsterdam"))) {
		if i := slices.Index(methods, c.method); i >= 0 {
			f.Add(uint8(i), mustJSON(c.params))
		}
	}
	f.Add(uint8(0), mustJSON([]any{[]common.Hash{mainChain().blocks[3].Hash(), {1}}}))
	f.Add(uint8(2), []byte(`["0x1","0x400"]`))
	var client *gethrpc.Client
	f.Fuzz(func(t *testing.T, method uint8, params []byte) {
		if client == nil {
			n := newFakeNode(t, func(c *Config, _ *Backend) { c.Log = nil })
			n.engine.outcome = importer.Outcome{Status: importer.Valid}
			client = n.EngineClient()
		}
		var list []json.RawMessage
		if json.Unmarshal(params, &list) != nil || len(list) > 8 {
			return
		}
		c := rpcCall{method: methods[int(method)%len(methods)]}
		for _, param := range list {
			c.params = append(c.params, param)
		}
		got := response(client, c)
		if strings.HasPrefix(got, "error -32603") {
			t.Fatalf("%s: %s", c, got)
		}
		if strings.HasPrefix(c.method, "engine_getPayloadBodiesByRange") && !strings.HasPrefix(got, "error") {
			checkRange(t, c, got)
		}
	})
}

// checkRange checks the number of bodies in a response.
func checkRange(t *testing.T, c rpcCall, got string) {
	t.Helper()
	var bodies []*engine.ExecutionPayloadBodyV2
	if err := json.Unmarshal([]byte(got), &bodies); err != nil {
		t.Fatalf("%s: %v", c, err)
	}
	checkRoundTrip(t, bodies)
	var start, count hexutil.Uint64
	for i, into := range []*hexutil.Uint64{&start, &count} {
		if err := json.Unmarshal(c.params[i].(json.RawMessage), into); err != nil {
			t.Fatalf("%s: parameter %d was accepted: %v", c, i, err)
		}
	}
	end := new(big.Int).Add(new(big.Int).SetUint64(uint64(start)), new(big.Int).SetUint64(uint64(count)))
	if last := big.NewInt(mainChainBlocks + 1); end.Cmp(last) > 0 {
		end = last
	}
	want := max(0, end.Int64()-int64(min(uint64(start), 1<<62)))
	if int64(len(bodies)) != want {
		t.Fatalf("%s: %d bodies, want %d", c, len(bodies), want)
	}
	for i, body := range bodies {
		block := mainChain().blocks[uint64(start)+uint64(i)]
		if body == nil || len(body.TransactionData) != len(block.Transactions()) {
			t.Fatalf("%s: body %d is not that of block %d", c, i, block.Number())
		}
	}
}
