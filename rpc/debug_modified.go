// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/params"
)

// go-ethereum finds modified accounts by comparing two tries, and has the addresses only if it stores preimages. Here the
// blocks are replayed: what they read has the addresses, and the two states say which accounts differ.

// GetModifiedAccountsByNumber returns the accounts that differ between two canonical blocks, or between a block and its
// parent, by the hash of their address. Deleted accounts are not among them, as in go-ethereum.
func (api *debugStateAPI) GetModifiedAccountsByNumber(ctx context.Context, start uint64, end *uint64) ([]common.Address, error) {
	first, err := api.canonicalHeader(start)
	if err != nil {
		return nil, err
	}
	if first == nil {
		return nil, fmt.Errorf("start block %x not found", start)
	}
	if end == nil {
		return api.modifiedIn(ctx, first)
	}
	last, err := api.canonicalHeader(*end)
	if err != nil {
		return nil, err
	}
	if last == nil {
		return nil, fmt.Errorf("end block %d not found", *end)
	}
	return api.modifiedBetween(ctx, first, last)
}

// canonicalHeader returns a canonical header by number, nil if it is in the future.
func (api *debugStateAPI) canonicalHeader(number uint64) (*types.Header, error) {
	header := api.b.Chain.HeaderByNumber(number)
	if header == nil && number < api.b.Chain.Tail() {
		return nil, errPruned()
	}
	return header, nil
}

// GetModifiedAccountsByHash is GetModifiedAccountsByNumber for blocks by hash.
func (api *debugStateAPI) GetModifiedAccountsByHash(ctx context.Context, start common.Hash, end *common.Hash) ([]common.Address, error) {
	first := api.b.headerByHash(start)
	if first == nil {
		return nil, fmt.Errorf("start block %x not found", start)
	}
	if end == nil {
		return api.modifiedIn(ctx, first)
	}
	last := api.b.headerByHash(*end)
	if last == nil {
		return nil, fmt.Errorf("end block %x not found", *end)
	}
	return api.modifiedBetween(ctx, first, last)
}

// modifiedIn returns the accounts that one block modifies.
func (api *debugStateAPI) modifiedIn(ctx context.Context, header *types.Header) ([]common.Address, error) {
	parent := api.b.headerByHash(header.ParentHash)
	if parent == nil {
		return nil, fmt.Errorf("block %x has no parent", header.Number)
	}
	return api.modifiedBetween(ctx, parent, header)
}

func (api *debugStateAPI) modifiedBetween(ctx context.Context, first, last *types.Header) ([]common.Address, error) {
	from, to := first.Number.Uint64(), last.Number.Uint64()
	switch {
	case from >= to:
		return nil, fmt.Errorf("start block height (%d) must be less than end block height (%d)", from, to)
	case to-from > maxFilteredBlocks:
		return nil, invalidParams("too many blocks: %d, at most %d are replayed", to-from, maxFilteredBlocks)
	}
	ctx, cancel := withOptionalTimeout(api.b.withBudget(ctx), api.b.cfg.Traces.Timeout)
	defer cancel()
	touched := make(map[common.Address]struct{})
	for header := last; header.Hash() != first.Hash(); header = api.b.headerByHash(header.ParentHash) {
		if header.Number.Uint64() <= from {
			return nil, fmt.Errorf("block %d is not an ancestor of block %d", from, to)
		}
		if err := api.addTouched(ctx, header.Hash(), touched); err != nil {
			return nil, err
		}
	}
	was, err := api.accounts(ctx, first, touched)
	if err != nil {
		return nil, err
	}
	is, err := api.accounts(ctx, last, touched)
	if err != nil {
		return nil, err
	}
	var modified []common.Address
	for address, account := range is {
		if account != nil && !sameAccount(was[address], account) {
			modified = append(modified, address)
		}
	}
	slices.SortFunc(modified, func(x, y common.Address) int {
		return bytes.Compare(crypto.Keccak256(x[:]), crypto.Keccak256(y[:]))
	})
	return modified, nil
}

// addTouched adds the accounts that a block may write: those that its execution reads, and those that are credited without
// being read by a transaction.
func (api *debugStateAPI) addTouched(ctx context.Context, hash common.Hash, touched map[common.Address]struct{}) error {
	block, err := api.b.blockByHash(hash)
	if err == nil && block == nil {
		err = fmt.Errorf("block %s not found", hash.Hex())
	}
	if err != nil {
		return err
	}
	_, err = withReplay(ctx, api.b, block, func(ctx context.Context, r *replay) (struct{}, error) {
		for i := range block.Transactions() {
			if err := r.apply(ctx, i); err != nil {
				return struct{}{}, err
			}
		}
		for _, account := range r.db.Touched().Accounts {
			touched[account.Address] = struct{}{}
		}
		return struct{}{}, nil
	})
	touched[block.Coinbase()] = struct{}{}
	for _, uncle := range block.Uncles() {
		touched[uncle.Coinbase] = struct{}{}
	}
	for _, withdrawal := range block.Withdrawals() {
		touched[withdrawal.Address] = struct{}{}
	}
	for _, contract := range []common.Address{params.WithdrawalQueueAddress, params.ConsolidationQueueAddress} {
		touched[contract] = struct{}{}
	}
	return err
}

// accounts reads accounts of the state after a block. Those that do not exist are nil.
func (api *debugStateAPI) accounts(ctx context.Context, header *types.Header, addresses map[common.Address]struct{}) (map[common.Address]*types.StateAccount, error) {
	return readStateOf(ctx, api.b, header, api.b.traceLimits(), func(_ context.Context, v *stateView) (map[common.Address]*types.StateAccount, error) {
		reader, err := v.db.Reader(header.Root)
		if err != nil {
			return nil, err
		}
		accounts := make(map[common.Address]*types.StateAccount, len(addresses))
		for address := range addresses {
			if accounts[address], err = reader.Account(address); err != nil {
				return nil, err
			}
		}
		return accounts, nil
	})
}

func sameAccount(x, y *types.StateAccount) bool {
	return x != nil && x.Nonce == y.Nonce && x.Balance.Eq(y.Balance) && x.Root == y.Root && bytes.Equal(x.CodeHash, y.CodeHash)
}
