// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"context"
	"errors"
	"fmt"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/state"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rlp"
	gethrpc "github.com/ethereum/go-ethereum/rpc"
	gethtrie "github.com/ethereum/go-ethereum/trie"
)

// maxAccountRange is how many accounts one call returns, as in go-ethereum; the next key is in the result.
const maxAccountRange = 256

// errNoAddresses is for a dump of accounts whose address is known. Such a dump would have none.
var errNoAddresses = errors.New("accounts are known by the hashes of their addresses only: set incompletes (the last parameter) to get them by hash")

// In a dump, pending is latest: go-ethereum too walks the trie below the pending block, without what is pending.

// DumpBlock returns the first accounts of the state after a block, by the hash of their address. Its member next is
// where debug_accountRange goes on.
func (api *debugStateAPI) DumpBlock(ctx context.Context, number gethrpc.BlockNumber) (*state.Dump, error) {
	return api.dump(ctx, gethrpc.BlockNumberOrHashWithNumber(number), dumpRange{limit: maxAccountRange})
}

// AccountRange returns accounts of the state after a block from a hash on. Their storage is not in it, because only the
// hashes of its keys are known: see debug_storageRangeAt.
func (api *debugStateAPI) AccountRange(ctx context.Context, at gethrpc.BlockNumberOrHash, start hexutil.Bytes, limit int, noCode, _, incompletes bool) (*state.Dump, error) {
	if !incompletes {
		return nil, errNoAddresses
	}
	if limit <= 0 || limit > maxAccountRange {
		limit = maxAccountRange
	}
	return api.dump(ctx, at, dumpRange{common.BytesToHash(start), limit, noCode})
}

// dumpRange says which accounts of a state are wanted.
type dumpRange struct {
	start  common.Hash
	limit  int
	noCode bool
}

func (api *debugStateAPI) dump(ctx context.Context, at gethrpc.BlockNumberOrHash, wanted dumpRange) (*state.Dump, error) {
	block, err := api.b.blockAt(at)
	if err == nil && block == nil {
		err = errBlockNotFound(at)
	}
	if err != nil {
		return nil, err
	}
	return readStateOf(ctx, api.b, block.Header(), api.b.traceLimits(), func(ctx context.Context, v *stateView) (*state.Dump, error) {
		return v.dump(ctx, wanted)
	})
}

// errBlockNotFound is go-ethereum's error for a parameter that names no block.
func errBlockNotFound(at gethrpc.BlockNumberOrHash) error {
	if hash, ok := at.Hash(); ok {
		return fmt.Errorf("block %s not found", hash.Hex())
	}
	number, _ := at.Number()
	return fmt.Errorf("block #%d not found", number)
}

func (v *stateView) dump(ctx context.Context, wanted dumpRange) (*state.Dump, error) {
	result := &state.Dump{Accounts: make(map[string]state.DumpAccount)}
	result.OnRoot(v.header.Root)
	accounts, err := v.db.OpenTrie(v.header.Root)
	if err != nil {
		return nil, err
	}
	codes, err := v.db.Reader(v.header.Root)
	if err != nil {
		return nil, err
	}
	nodes, err := accounts.NodeIterator(wanted.start[:])
	if err != nil {
		return nil, err
	}
	leaves := gethtrie.NewIterator(nodes)
	for leaves.Next() {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		v.turn.yield()
		if len(result.Accounts) >= wanted.limit {
			result.Next = leaves.Key
			break
		}
		var account types.StateAccount
		if err := rlp.DecodeBytes(leaves.Value, &account); err != nil {
			return nil, err
		}
		dumped := state.DumpAccount{
			Balance: account.Balance.String(), Nonce: account.Nonce, Root: account.Root[:], CodeHash: account.CodeHash, AddressHash: leaves.Key,
		}
		if hash := common.BytesToHash(account.CodeHash); !wanted.noCode && hash != types.EmptyCodeHash {
			if dumped.Code = codes.Code(common.Address{}, hash); dumped.Code == nil {
				return nil, v.readError()
			}
		}
		result.OnAccount(nil, dumped)
	}
	return result, leaves.Err
}
