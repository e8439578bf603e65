// SPDX-License-Identifier: LGPL-3.0-or-later

package beamtest

import (
	"encoding/binary"
	"slices"
	"sync"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/rawdb"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/ethdb"
	gethtrie "github.com/ethereum/go-ethereum/trie"
	"github.com/ethereum/go-ethereum/trie/trienode"
	"github.com/ethereum/go-ethereum/triedb"
	"github.com/holiman/uint256"

	"github.com/sunbeam-eth/sunbeam/trie"
)

// State is a real state, made by go-ethereum's tries: accounts, the first few of which have
// code and storage.
type State struct {
	Root  common.Hash
	db    *triedb.Database
	Codes map[common.Hash][]byte
	Code  []common.Hash // the same codes, in order
}

const (
	Accounts  = 3000
	Contracts = 5
	SlotsEach = 400
)

func AddressOf(i int) common.Address {
	return common.BytesToAddress(binary.BigEndian.AppendUint32([]byte{0xac}, uint32(i)))
}

func SlotOf(i int) common.Hash { return common.BigToHash(uint256.NewInt(uint64(i)).ToBig()) }

func ValueOf(i int) common.Hash {
	return common.BigToHash(uint256.NewInt(uint64(i)*1_000_003 + 7).ToBig())
}

// TheState is built once; it is only read afterwards.
var TheState = sync.OnceValue(func() *State {
	b := &State{db: triedb.NewDatabase(rawdb.NewMemoryDatabase(), nil), Codes: make(map[common.Hash][]byte)}
	all := trienode.NewMergedNodeSet()
	accounts, err := gethtrie.NewStateTrie(gethtrie.StateTrieID(types.EmptyRootHash), b.db)
	Must(err)
	for i := range Accounts {
		account := types.NewEmptyStateAccount()
		account.Balance = uint256.NewInt(uint64(i))
		if i < Contracts {
			code := slices.Repeat([]byte{0x60, byte(i)}, 100+i)
			hash := crypto.Keccak256Hash(code)
			b.Codes[hash] = code
			b.Code = append(b.Code, hash)
			account.CodeHash = hash[:]
			owner := crypto.Keccak256Hash(AddressOf(i).Bytes())
			storage, err := gethtrie.NewStateTrie(gethtrie.StorageTrieID(types.EmptyRootHash, owner, types.EmptyRootHash), b.db)
			Must(err)
			for s := range SlotsEach {
				Must(storage.UpdateStorage(AddressOf(i), SlotOf(s).Bytes(), common.TrimLeftZeroes(ValueOf(s).Bytes())))
			}
			root, nodes := storage.Commit(false)
			Must(all.Merge(nodes))
			account.Root = root
		}
		Must(accounts.UpdateAccount(AddressOf(i), account, 0))
	}
	root, nodes := accounts.Commit(true)
	Must(all.Merge(nodes))
	Must(b.db.Update(root, types.EmptyRootHash, 0, all, triedb.NewStateSet()))
	b.Root = root
	return b
})

func Must(err error) {
	if err != nil {
		panic(err)
	}
}

// StatesIn serves the states of a database in go-ethereum's hash scheme.
func StatesIn(disk ethdb.Database, codes ...[]byte) *State {
	b := &State{db: triedb.NewDatabase(disk, triedb.HashDefaults), Codes: make(map[common.Hash][]byte)}
	for _, code := range codes {
		b.Codes[crypto.Keccak256Hash(code)] = code
	}
	return b
}

// trieNodes answers as geth's ServiceGetTrieNodesQuery does.
func (b *State) TrieNodes(root common.Hash, sets [][][]byte, maxLookups int) [][]byte {
	accounts, err := gethtrie.NewStateTrie(gethtrie.StateTrieID(root), b.db)
	if err != nil {
		return nil
	}
	var (
		nodes   [][]byte
		lookups int
	)
	for _, set := range sets {
		if len(set) == 1 {
			blob, resolved, err := accounts.GetNode(set[0])
			lookups += max(resolved, 1)
			if err == nil {
				nodes = append(nodes, blob)
			}
		} else {
			owner := common.BytesToHash(set[0])
			account, err := accounts.GetAccountByHash(owner)
			lookups += 8
			if err != nil || account == nil {
				continue
			}
			storage, err := gethtrie.NewStateTrie(gethtrie.StorageTrieID(root, owner, account.Root), b.db)
			lookups++
			if err != nil {
				continue
			}
			for _, path := range set[1:] {
				blob, resolved, err := storage.GetNode(path)
				lookups += max(resolved, 1)
				if err != nil {
					break
				}
				nodes = append(nodes, blob)
				if lookups > maxLookups {
					return nodes
				}
			}
		}
		if lookups > maxLookups {
			return nodes
		}
	}
	return nodes
}

// rootFault is the fault of an empty store that reads an account.
func RootFault(account int) trie.Fault {
	b := TheState()
	return trie.Fault{Root: b.Root, Hash: b.Root, Key: trie.Nibbles(crypto.Keccak256Hash(AddressOf(account).Bytes()))}
}
