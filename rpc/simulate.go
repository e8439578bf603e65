// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"context"
	"fmt"
	"math"

	"github.com/ethereum/go-ethereum/core/types"
	gethrpc "github.com/ethereum/go-ethereum/rpc"
)

// Limits of eth_simulateV1. The number of blocks is that of execution-apis, the numbers of calls are go-ethereum's.
const (
	maxSimulatedBlocks     = 256
	maxSimulatedBlockCalls = 5000
	maxSimulatedCalls      = 10_000
)

// simulateRequest is the first parameter of eth_simulateV1 (execution-apis, src/schemas/execute.yaml).
type simulateRequest struct {
	Blocks         []simulatedBlock `json:"blockStateCalls"`
	TraceTransfers bool             `json:"traceTransfers"`         // report transfers of ether as logs
	Validation     bool             `json:"validation"`             // check nonces and fees as for a block
	FullObjects    bool             `json:"returnFullTransactions"` // instead of transaction hashes
}

// simulatedBlock are the calls of one block, and what is replaced in its header and in the state before it.
type simulatedBlock struct {
	Header *blockOverride `json:"blockOverrides"`
	State  *stateOverride `json:"stateOverrides"`
	Calls  []callObject   `json:"calls"`
}

// checkSize refuses a request that has no blocks, or more blocks or calls than the limits.
func (r *simulateRequest) checkSize() error {
	switch {
	case len(r.Blocks) == 0:
		return invalidParams("empty input")
	case len(r.Blocks) > maxSimulatedBlocks:
		return errTooManyBlocks()
	}
	total := 0
	for _, block := range r.Blocks {
		n := len(block.Calls)
		if n > maxSimulatedBlockCalls {
			return &codedError{codeClientLimit, fmt.Sprintf("too many calls in block: %d > %d", n, maxSimulatedBlockCalls)}
		}
		if total += n; total > maxSimulatedCalls {
			return &codedError{codeClientLimit, fmt.Sprintf("too many calls: %d > %d", total, maxSimulatedCalls)}
		}
	}
	return nil
}

func errTooManyBlocks() error { return &codedError{codeClientLimit, "too many blocks"} }

// simulation executes blocks of calls on the state of a block, one after another. The state changes stay in
// its view.
type simulation struct {
	*callAPI
	request simulateRequest
	view    *stateView
	chain   *simulatedChain
	gas     uint64 // left for all blocks together
	bytes   int    // left for the response
}

// SimulateV1 executes blocks of calls on the state of a block, and returns the blocks with the result of each
// call. All blocks together may use the gas of --rpc.gascap and the time of --rpc.evmtimeout.
func (api *callAPI) SimulateV1(ctx context.Context, request simulateRequest, at *gethrpc.BlockNumberOrHash) ([]*simulatedResult, error) {
	if err := request.checkSize(); err != nil {
		return nil, err
	}
	return readState(ctx, api.b, at, func(ctx context.Context, v *stateView) ([]*simulatedResult, error) {
		s := &simulation{callAPI: api, request: request, view: v, gas: api.b.cfg.GasCap, bytes: api.b.cfg.ResponseBytes}
		s.chain = &simulatedChain{chainContext: v.chain, base: v.header}
		if s.gas == 0 {
			s.gas = math.MaxUint64
		}
		return s.run(ctx)
	})
}

func (s *simulation) run(ctx context.Context) ([]*simulatedResult, error) {
	blocks, err := placeBlocks(s.request.Blocks, s.view.header)
	if err != nil {
		return nil, err
	}
	headers, err := s.chain.draftHeaders(blocks)
	if err != nil {
		return nil, err
	}
	results := make([]*simulatedResult, len(blocks))
	for i, block := range blocks {
		if results[i], err = s.runBlock(ctx, block, headers[i]); err != nil {
			return nil, err
		}
		s.chain.append(results[i].block.Header())
	}
	return results, nil
}

// useGas counts gas of a call against the limit of the request.
func (s *simulation) useGas(used uint64) error {
	if used > s.gas {
		return fmt.Errorf("RPC gas cap exhausted: need %d, remaining %d", used, s.gas)
	}
	s.gas -= used
	return nil
}

// useBytes counts the result of a call against the limit of the response.
func (s *simulation) useBytes(call *simulatedCall) error {
	s.bytes -= 2*len(call.Output) + jsonSize(call.Logs)
	if s.bytes < 0 {
		return errResponseTooLarge(s.b.cfg.ResponseBytes)
	}
	return nil
}

// errResponseTooLarge is the error of a response with more than limit bytes of JSON.
func errResponseTooLarge(limit int) error {
	return &codedError{codeClientLimit, fmt.Sprintf("response is larger than %d bytes (--rpc.response-max-size)", limit)}
}

// jsonSize estimates the JSON of logs, in bytes.
func jsonSize(logs []*types.Log) int {
	r := newLogResult(Logs{})
	r.add(logs)
	return r.bytes
}
