// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"fmt"
	"maps"
	"slices"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/state"
	"github.com/ethereum/go-ethereum/core/tracing"
	"github.com/ethereum/go-ethereum/core/vm"
	"github.com/ethereum/go-ethereum/params"
	"github.com/holiman/uint256"
)

// stateOverride replaces parts of accounts for the time of one call; nil replaces nothing. Its members
// are those of eth_simulateV1 in execution-apis.
type stateOverride map[common.Address]accountOverride

type accountOverride struct {
	Balance *hexutil.Big    `json:"balance"`
	Nonce   *hexutil.Uint64 `json:"nonce"`
	Code    *hexutil.Bytes  `json:"code"`

	// Storage is the whole storage, so {} empties it. SomeSlots are written over the storage that is
	// there. At most one of the two is not nil.
	Storage   map[common.Hash]common.Hash `json:"state"`
	SomeSlots map[common.Hash]common.Hash `json:"stateDiff"`

	PrecompileTo *common.Address `json:"movePrecompileToAddress"` // where the precompile at this address goes
}

// apply changes the state and the precompiles of one call. If precompiles is nil none can be moved.
func (o *stateOverride) apply(statedb *state.StateDB, precompiles vm.PrecompiledContracts) error {
	if o == nil {
		return nil
	}
	addresses := slices.SortedFunc(maps.Keys(*o), common.Address.Cmp) // so that of several errors always the same is returned
	for _, address := range addresses {
		if err := o.check(address, precompiles); err != nil {
			return err
		}
		account := (*o)[address]
		if to := account.PrecompileTo; to != nil {
			precompiles[*to] = precompiles[address]
		}
		delete(precompiles, address) // an overridden account runs its code
		account.write(statedb, address)
	}
	statedb.Finalise(params.Rules{}) // for the call, an earlier transaction made the changes
	return nil
}

// check refuses an override that contradicts itself, the precompiles or another one.
func (o *stateOverride) check(address common.Address, precompiles vm.PrecompiledContracts) error {
	account := (*o)[address]
	if to := account.PrecompileTo; to != nil {
		if precompiles[address] == nil {
			return fmt.Errorf("account %s is not a precompile", address.Hex())
		}
		if _, overridden := (*o)[*to]; overridden {
			return fmt.Errorf("account %s is already overridden", to.Hex())
		}
	}
	if account.Storage != nil && account.SomeSlots != nil {
		return fmt.Errorf("account %s has both 'state' and 'stateDiff'", address.Hex())
	}
	return nil
}

// write puts the override into the state. The storage comes last: replacing it recreates the account.
func (a accountOverride) write(statedb *state.StateDB, address common.Address) {
	if a.Balance != nil {
		statedb.SetBalance(address, uint256.MustFromBig(a.Balance.ToInt()), tracing.BalanceChangeUnspecified)
	}
	if a.Nonce != nil {
		statedb.SetNonce(address, uint64(*a.Nonce), tracing.NonceChangeUnspecified)
	}
	if a.Code != nil {
		statedb.SetCode(address, *a.Code, tracing.CodeChangeUnspecified)
	}
	if a.Storage != nil {
		statedb.SetStorage(address, a.Storage)
	}
	for slot, value := range a.SomeSlots {
		statedb.SetState(address, slot, value)
	}
}
