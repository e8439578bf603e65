package beamsync

import (
	"slices"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/beacon/engine"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/core/types/bal"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/holiman/uint256"

	"github.com/sunbeam-eth/sunbeam/evm"
)

// withLie returns a block whose header commits to a list that was tampered with, which it comes with.
func withLie(block *types.Block, tamper func(list bal.BlockAccessList) bal.BlockAccessList) *types.Block {
	var list bal.BlockAccessList
	must(rlp.DecodeBytes(encoded(block.AccessList()), &list))
	list = tamper(list)
	header, hash := types.CopyHeader(block.Header()), list.Hash()
	header.BlockAccessListHash = &hash
	return types.NewBlockWithHeader(header).WithBody(*block.Body()).WithAccessListUnsafe(&list)
}

// madeUp are accounts that nobody reads, with slots.
func madeUp(count, slots int) (accounts bal.BlockAccessList) {
	for n := range count {
		account := bal.AccountAccess{Address: common.Address{byte(n >> 8), byte(n), 0x11}}
		for slot := range slots {
			account.StorageReads = append(account.StorageReads, uint256.NewInt(uint64(slot)))
		}
		accounts = append(accounts, account)
	}
	return accounts
}

func sorted(list bal.BlockAccessList) bal.BlockAccessList {
	slices.SortFunc(list, func(a, b bal.AccountAccess) int { return a.Address.Cmp(b.Address) })
	return list
}

// TestLyingList: a payload whose header commits to a list that is not what the block does is INVALID, in
// time, whatever
// the lie; the block with the right list is VALID after that.
func TestLyingList(t *testing.T) {
	for name, tamper := range map[string]func(bal.BlockAccessList) bal.BlockAccessList{
		"nothing":     func(bal.BlockAccessList) bal.BlockAccessList { return nil },
		"one less":    func(list bal.BlockAccessList) bal.BlockAccessList { return list[:len(list)-1] },
		"one more":    func(list bal.BlockAccessList) bal.BlockAccessList { return sorted(append(list, madeUp(1, 0)...)) },
		"much more":   func(list bal.BlockAccessList) bal.BlockAccessList { return sorted(append(list, madeUp(600, 20)...)) },
		"backwards":   func(list bal.BlockAccessList) bal.BlockAccessList { slices.Reverse(list); return list },
		"only others": func(bal.BlockAccessList) bal.BlockAccessList { return madeUp(3, 3) },
		"balance": func(list bal.BlockAccessList) bal.BlockAccessList {
			for i := range list {
				for j := range list[i].BalanceChanges {
					list[i].BalanceChanges[j].PostBalance = uint256.NewInt(7)
				}
			}
			return list
		},
		"nonce": func(list bal.BlockAccessList) bal.BlockAccessList {
			for i := range list {
				for j := range list[i].NonceChanges {
					list[i].NonceChanges[j].PostNonce += 9
				}
			}
			return list
		},
		"storage": func(list bal.BlockAccessList) bal.BlockAccessList {
			for i := range list {
				list[i].StorageChanges = nil
			}
			return list
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubbleOn(t, newNetwork(t, amsterdamConfig(), 3), 30, func(f *fixture) {
				f.want("parent", f.payload(f.at(2), time.Minute), engine.VALID)
				began := time.Now()
				f.want("lie", f.payload(withLie(f.at(3), tamper), time.Hour), engine.INVALID)
				if took := time.Since(began); took > 20*time.Second {
					t.Errorf("took %v", took)
				}
				f.want("truth", f.payload(f.at(3), time.Minute), engine.VALID)
			})
		})
	}
}

// TestCollectorLyingList collects a real block by a list that leaves out half of what it reads and names
// a
// lot that it does not read, from a peer that has none of that: it ends, and the execution gets the rest.
func TestCollectorLyingList(t *testing.T) {
	file := loadWitness(t, "1-21688509")
	lie := withLie(withList(t, file), func(list bal.BlockAccessList) bal.BlockAccessList {
		return sorted(append(list[:len(list)/2], madeUp(300, 10)...))
	})
	inBubble(t, func(r *rig) {
		joinWitness(r, file, "a")
		trips, stats := collectAndExecute(t, r, evm.NewExecutor(file.Config), file, lie)
		if need := uint64(len(file.Nodes)); trips > 200 || stats.Nodes > 2*need {
			t.Errorf("%.1f trips, %+v", trips, stats)
		}
		t.Logf("%.1f trips, %+v", trips, stats)
	})
}
