// SPDX-License-Identifier: LGPL-3.0-or-later

package importer

import (
	"slices"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/core/types/bal"
	"github.com/holiman/uint256"

	"github.com/sunbeam-eth/sunbeam/beamsync/internal/beamtest"
)

// TestLyingList: a payload whose header commits to a list that is not what the block does is INVALID, in
// time, whatever
// is wrong; the block with the right list is VALID after that.
func TestLyingList(t *testing.T) {
	for name, tamper := range map[string]func(bal.BlockAccessList) bal.BlockAccessList{
		"nothing":  func(bal.BlockAccessList) bal.BlockAccessList { return nil },
		"one less": func(list bal.BlockAccessList) bal.BlockAccessList { return list[:len(list)-1] },
		"one more": func(list bal.BlockAccessList) bal.BlockAccessList {
			return beamtest.Sorted(append(list, beamtest.MadeUp(1, 0)...))
		},
		"much more": func(list bal.BlockAccessList) bal.BlockAccessList {
			return beamtest.Sorted(append(list, beamtest.MadeUp(600, 20)...))
		},
		"backwards":   func(list bal.BlockAccessList) bal.BlockAccessList { slices.Reverse(list); return list },
		"only others": func(bal.BlockAccessList) bal.BlockAccessList { return beamtest.MadeUp(3, 3) },
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
				f.want("parent", f.payload(f.at(2), time.Minute), Valid)
				began := time.Now()
				f.want("wrong list", f.payload(beamtest.WithLie(f.at(3), tamper), time.Hour), Invalid)
				if took := time.Since(began); took > 20*time.Second {
					t.Errorf("took %v", took)
				}
				f.want("truth", f.payload(f.at(3), time.Minute), Valid)
			})
		})
	}
}
