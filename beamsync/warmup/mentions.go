// SPDX-License-Identifier: LGPL-3.0-or-later

package warmup

import (
	"maps"
	"slices"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/core/types/bal"
	"github.com/ethereum/go-ethereum/crypto"

	"github.com/sunbeam-eth/sunbeam/trie"
)

// mentions are the addresses that a block names, with the slots that it names of them.
type mentions map[common.Address][]common.Hash

// mentionsOf finds what a block and its receipts name. Senders are those of the transactions.
func mentionsOf(block *types.Block, senders []common.Address, receipts types.Receipts) mentions {
	m := make(mentions)
	m.add(block.Coinbase())
	for i, tx := range block.Transactions() {
		m.add(senders[i])
		if to := tx.To(); to != nil {
			m.add(*to)
		} else {
			m.add(crypto.CreateAddress(senders[i], tx.Nonce()))
		}
		for _, tuple := range tx.AccessList() {
			m.add(tuple.Address, tuple.StorageKeys...)
		}
		for _, auth := range tx.SetCodeAuthorizations() {
			if from, err := auth.Authority(); err == nil {
				m.add(from)
			}
			m.add(auth.Address)
		}
	}
	for _, receipt := range receipts {
		for _, log := range receipt.Logs {
			m.add(log.Address)
		}
	}
	for _, withdrawal := range block.Withdrawals() {
		m.add(withdrawal.Address)
	}
	return m
}

func (m mentions) add(addr common.Address, slots ...common.Hash) { m[addr] = append(m[addr], slots...) }

// listed is what an access list (EIP-7928) names.
func listed(list bal.BlockAccessList) *trie.Touched {
	m := make(mentions)
	for i := range list {
		account := &list[i]
		m.add(account.Address)
		for _, change := range account.StorageChanges {
			m.add(account.Address, change.Slot.Bytes32())
		}
		for _, slot := range account.StorageReads {
			m.add(account.Address, slot.Bytes32())
		}
	}
	return m.touched(slices.Collect(maps.Keys(m)))
}

// touched are some addresses with their codes, and the slots that were mentioned of them.
func (m mentions) touched(addrs []common.Address) *trie.Touched {
	t := new(trie.Touched)
	for _, addr := range slices.SortedFunc(slices.Values(addrs), common.Address.Cmp) {
		slots := slices.Compact(slices.SortedFunc(slices.Values(m[addr]), common.Hash.Cmp))
		t.Accounts = append(t.Accounts, trie.TouchedAccount{Address: addr, Code: true, Slots: slots})
	}
	return t
}
