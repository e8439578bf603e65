// SPDX-License-Identifier: LGPL-3.0-or-later

package beamtest

import (
	"slices"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/core/types/bal"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/holiman/uint256"
)

func Encoded(list any) rlp.RawValue {
	raw, err := rlp.EncodeToBytes(list)
	Must(err)
	return raw
}

// withLie returns a block whose header commits to a list that was tampered with, which it comes with.
func WithLie(block *types.Block, tamper func(list bal.BlockAccessList) bal.BlockAccessList) *types.Block {
	var list bal.BlockAccessList
	Must(rlp.DecodeBytes(Encoded(block.AccessList()), &list))
	list = tamper(list)
	header, hash := types.CopyHeader(block.Header()), list.Hash()
	header.BlockAccessListHash = &hash
	return types.NewBlockWithHeader(header).WithBody(*block.Body()).WithAccessListUnsafe(&list)
}

// madeUp are accounts that nobody reads, with slots.
func MadeUp(count, slots int) (accounts bal.BlockAccessList) {
	for n := range count {
		account := bal.AccountAccess{Address: common.Address{byte(n >> 8), byte(n), 0x11}}
		for slot := range slots {
			account.StorageReads = append(account.StorageReads, uint256.NewInt(uint64(slot)))
		}
		accounts = append(accounts, account)
	}
	return accounts
}

func Sorted(list bal.BlockAccessList) bal.BlockAccessList {
	slices.SortFunc(list, func(a, b bal.AccountAccess) int { return a.Address.Cmp(b.Address) })
	return list
}
