// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/core/vm"
	"github.com/ethereum/go-ethereum/params"
)

// simulatedResult is a block object with the results of its calls.
type simulatedResult struct {
	block   *types.Block
	senders []common.Address // of its transactions
	calls   []simulatedCall
	full    bool // transaction objects instead of hashes
	config  *params.ChainConfig
}

// MarshalJSON implements json.Marshaler.
func (r *simulatedResult) MarshalJSON() ([]byte, error) {
	o := blockObject(r.block, r.full, r.config)
	if transactions, ok := o["transactions"].([]any); ok && r.full {
		for i, sender := range r.senders { // cannot be recovered, as nobody signed
			if tx, ok := transactions[i].(*transactionObject); ok {
				tx.Sender = sender
			}
		}
	}
	o["calls"] = r.calls
	if r.calls == nil {
		o["calls"] = []simulatedCall{}
	}
	return json.Marshal(o)
}

// simulatedCall is the result of one call (CallResults in execution-apis).
type simulatedCall struct {
	Output  hexutil.Bytes   `json:"returnData"`
	Logs    []*types.Log    `json:"logs"`
	GasUsed hexutil.Uint64  `json:"gasUsed"`
	MaxGas  hexutil.Uint64  `json:"maxUsedGas"` // before refunds
	Status  hexutil.Uint64  `json:"status"`
	Error   *simulatedError `json:"error,omitempty"`
}

// simulatedError is why a call failed.
type simulatedError struct {
	Message string `json:"message"`
	Code    int    `json:"code"`
	Data    string `json:"data,omitempty"` // what the call reverted with, in hex
}

// newSimulatedCall is the result of an executed call. capped is whether its gas limit was lowered to what is left of
// --rpc.gascap.
func newSimulatedCall(result *core.ExecutionResult, logs []*types.Log, capped bool) simulatedCall {
	call := simulatedCall{
		Output: result.Return(), Logs: logs, GasUsed: hexutil.Uint64(result.UsedGas), MaxGas: hexutil.Uint64(result.MaxUsedGas),
		Status: hexutil.Uint64(types.ReceiptStatusSuccessful),
	}
	if logs == nil {
		call.Logs = []*types.Log{}
	}
	switch {
	case !result.Failed():
		return call
	case errors.Is(result.Err, vm.ErrExecutionReverted):
		revert := newRevertError(result.Revert())
		call.Error = &simulatedError{revert.Error(), revert.ErrorCode(), hexutil.Encode(revert.revert)}
	default:
		call.Error = &simulatedError{Message: result.Err.Error(), Code: codeVMError}
		if capped {
			call.Error.Message += " (gas limit was capped by the RPC server's global gas cap)"
		}
	}
	call.Status = hexutil.Uint64(types.ReceiptStatusFailed)
	return call
}

// UnmarshalJSON implements json.Unmarshaler. Unlike the overrides of other methods, those of a simulated block must
// not have unknown members.
func (b *simulatedBlock) UnmarshalJSON(encoded []byte) error {
	var raw struct {
		Header json.RawMessage                    `json:"blockOverrides"`
		State  map[common.Address]json.RawMessage `json:"stateOverrides"`
		Calls  []callObject                       `json:"calls"`
	}
	if err := json.Unmarshal(encoded, &raw); err != nil {
		return err
	}
	*b = simulatedBlock{Calls: raw.Calls}
	if raw.Header != nil {
		if err := unmarshalKnown(raw.Header, &b.Header, "block override"); err != nil {
			return err
		}
	}
	if raw.State == nil {
		return nil
	}
	overrides := make(stateOverride, len(raw.State))
	for _, address := range slices.SortedFunc(maps.Keys(raw.State), common.Address.Cmp) {
		var account accountOverride
		if err := unmarshalKnown(raw.State[address], &account, "state override for "+address.Hex()); err != nil {
			return err
		}
		overrides[address] = account
	}
	b.State = &overrides
	return nil
}

// unmarshalKnown decodes an object into a struct, or into a pointer to one. It refuses members that the struct does
// not have, and two spellings of one member, as encoding/json compares names without case.
func unmarshalKnown[T any](encoded json.RawMessage, target *T, what string) error {
	var members map[string]json.RawMessage
	if json.Unmarshal(encoded, &members) != nil {
		return json.Unmarshal(encoded, target)
	}
	known := reflect.TypeFor[T]()
	if known.Kind() == reflect.Pointer {
		known = known.Elem()
	}
	spelled := make(map[string]string) // name of the member -> how the caller wrote it
	for _, key := range slices.Sorted(maps.Keys(members)) {
		name, ok := memberName(known, key)
		if !ok {
			return fmt.Errorf("unknown field %q in %s", key, what)
		}
		if earlier, twice := spelled[name]; twice {
			return fmt.Errorf("keys %q and %q in %s name the same field", earlier, key, what)
		}
		spelled[name] = key
	}
	return json.Unmarshal(encoded, target)
}

// memberName finds the JSON member of a struct that a key names.
func memberName(structure reflect.Type, key string) (string, bool) {
	for i := range structure.NumField() {
		name, _, _ := strings.Cut(structure.Field(i).Tag.Get("json"), ",")
		if strings.EqualFold(name, key) {
			return name, true
		}
	}
	return "", false
}
