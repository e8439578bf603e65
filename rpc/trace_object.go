// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"encoding/json"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
)

// The objects of the trace namespace. Members and their order are those that Erigon, Nethermind and reth share.

// callTrace is one call, contract creation or selfdestruct of a transaction, or a reward of a block.
type callTrace struct {
	Action       any    `json:"action"`
	Error        string `json:"error,omitempty"`
	Result       any    `json:"result"` // null: it failed without output, or has none
	Subtraces    int    `json:"subtraces"`
	TraceAddress []int  `json:"traceAddress"` // index in each frame from the outermost to this one
	Type         string `json:"type"`         // call, create, suicide or reward
}

// placedTrace is a call trace with its place in the chain. The order of members is the reason not to embed it.
type placedTrace struct {
	Action       any          `json:"action"`
	BlockHash    common.Hash  `json:"blockHash"`
	BlockNumber  uint64       `json:"blockNumber"`
	Error        string       `json:"error,omitempty"`
	Result       any          `json:"result"`
	Subtraces    int          `json:"subtraces"`
	TraceAddress []int        `json:"traceAddress"`
	TxHash       *common.Hash `json:"transactionHash"` // null: a reward
	TxPosition   *uint64      `json:"transactionPosition"`
	Type         string       `json:"type"`
}

type callAction struct {
	From     common.Address `json:"from"`
	CallType string         `json:"callType"`
	Gas      hexutil.Uint64 `json:"gas"`
	Input    hexutil.Bytes  `json:"input"`
	To       common.Address `json:"to"`
	Value    *hexutil.Big   `json:"value"`
}

type createAction struct {
	From   common.Address `json:"from"`
	Method string         `json:"creationMethod"` // create or create2
	Gas    hexutil.Uint64 `json:"gas"`
	Init   hexutil.Bytes  `json:"init"`
	Value  *hexutil.Big   `json:"value"`
}

type selfdestructAction struct {
	Address       common.Address `json:"address"`
	RefundAddress common.Address `json:"refundAddress"`
	Balance       *hexutil.Big   `json:"balance"`
}

type rewardAction struct {
	Author common.Address `json:"author"`
	Type   string         `json:"rewardType"` // block or uncle
	Value  *hexutil.Big   `json:"value"`
}

type callOutput struct {
	GasUsed hexutil.Uint64 `json:"gasUsed"`
	Output  hexutil.Bytes  `json:"output"`
}

type createOutput struct {
	Address common.Address `json:"address"`
	Code    hexutil.Bytes  `json:"code"`
	GasUsed hexutil.Uint64 `json:"gasUsed"`
}

// replayResult is what a transaction or call did, in the kinds of trace that the caller asked for.
type replayResult struct {
	Output    hexutil.Bytes                   `json:"output"`
	StateDiff map[common.Address]*accountDiff `json:"stateDiff"`
	Trace     []*callTrace                    `json:"trace"`
	VMTrace   *vmTrace                        `json:"vmTrace"`
	TxHash    *common.Hash                    `json:"transactionHash,omitempty"` // of replayBlockTransactions
}

// accountDiff is how a transaction changed an account.
type accountDiff struct {
	Balance valueDiff                 `json:"balance"`
	Code    valueDiff                 `json:"code"`
	Nonce   valueDiff                 `json:"nonce"`
	Storage map[common.Hash]valueDiff `json:"storage"` // changed slots
}

// valueDiff is "=" if both values are the same, {"+": to} if only the second exists, {"-": from} if only the first
// does, and {"*": {"from": from, "to": to}} otherwise.
type valueDiff struct{ from, to any }

// MarshalJSON implements json.Marshaler.
func (d valueDiff) MarshalJSON() ([]byte, error) {
	switch {
	case d.from == nil && d.to == nil:
		return []byte(`"="`), nil
	case d.from == nil:
		return json.Marshal(map[string]any{"+": d.to})
	case d.to == nil:
		return json.Marshal(map[string]any{"-": d.from})
	}
	type change struct {
		From any `json:"from"`
		To   any `json:"to"`
	}
	return json.Marshal(map[string]any{"*": change{d.from, d.to}})
}

// vmTrace are the instructions that a call frame executed.
type vmTrace struct {
	Code hexutil.Bytes `json:"code"`
	Ops  []*vmOp       `json:"ops"`
}

type vmOp struct {
	Cost uint64   `json:"cost"` // gas, with that of a call which the instruction makes
	Ex   *vmDone  `json:"ex"`   // null: the instruction failed
	PC   uint64   `json:"pc"`
	Sub  *vmTrace `json:"sub"` // of the call that the instruction made
	Op   string   `json:"op"`
}

// vmDone is what an instruction did.
type vmDone struct {
	Memory *vmMemory `json:"mem"` // the range that it wrote, or MLOAD read
	Push   []string  `json:"push"`
	Store  *vmStore  `json:"store"`
	Used   uint64    `json:"used"` // gas left after it
}

type vmMemory struct {
	Data hexutil.Bytes `json:"data"`
	Off  uint64        `json:"off"`
}

type vmStore struct {
	Key string `json:"key"`
	Val string `json:"val"`
}
