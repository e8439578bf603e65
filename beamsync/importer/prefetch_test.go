// SPDX-License-Identifier: LGPL-3.0-or-later

package importer

import (
	"context"
	"math/big"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/core/vm"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/params"

	"github.com/sunbeam-eth/sunbeam/trie"
)

// help brings what a hint asks for, in the time of one request.
func (s networkSession) help(ctx context.Context, faults []trie.Fault, codes []common.Hash, news func()) error {
	if err := s.answer(ctx); err != nil {
		return err
	}
	for _, fault := range faults {
		for path, hash := fault.Path, fault.Hash; ; {
			blob, _ := s.states.Node(fault.Owner, path, hash)
			if len(blob) == 0 {
				break
			}
			if err := s.local.PutNodes([]trie.Node{{Owner: fault.Owner, Path: path, Hash: hash, Blob: blob}}); err != nil {
				return err
			}
			if len(path) >= len(fault.Key) {
				break
			}
			step, err := trie.Descend(blob, fault.Key[len(path):])
			if err != nil || step.Kind != trie.StepChild {
				break
			}
			path, hash = fault.Key[:len(path)+step.Depth], step.Hash
		}
	}
	for _, hash := range codes {
		if code, _ := s.states.Code(hash); len(code) > 0 {
			if err := s.local.PutCode(hash, code); err != nil {
				return err
			}
		}
	}
	if news != nil {
		news()
	}
	return nil
}

// chaser follows a chain of slots, each of which names the next one, from the one that its input names
// on: a different one for
// each number.
func chaser(chains, length int) *types.Account {
	contract := &types.Account{Balance: new(big.Int), Storage: make(map[common.Hash]common.Hash)}
	contract.Code = []byte{byte(vm.PUSH1), 0, byte(vm.CALLDATALOAD)}
	for range length {
		contract.Code = append(contract.Code, byte(vm.SLOAD))
	}
	contract.Code = append(contract.Code, byte(vm.POP), byte(vm.STOP))
	for chain := range chains {
		slot := common.BigToHash(big.NewInt(int64(chain)))
		for range length {
			next := crypto.Keccak256Hash(slot[:])
			contract.Storage[slot] = next
			slot = next
		}
	}
	return contract
}

// TestBehindIsFaster: blocks that wait for their parents are prefetched meanwhile, so a node that is some blocks behind
// takes fewer trips for each than one that follows.
func TestBehindIsFaster(t *testing.T) {
	const behind = 20
	trips := func(do func(f *fixture)) (count float64) {
		n := newNetworkOf(t, params.MergedTestChainConfig, 5+behind, chaser(5+behind, 6))
		n.helpful = true
		inBubbleOn(t, n, 30, func(f *fixture) {
			f.want("first", f.payload(f.at(5), time.Minute), Valid)
			began := time.Now()
			do(f)
			count = time.Since(began).Seconds() / 0.1
			for _, block := range f.blocks[5:] {
				if f.chain.Header(block.Hash()) == nil {
					t.Errorf("block %d is not stored", block.NumberU64())
				}
			}
		})
		return count
	}
	following := trips(func(f *fixture) {
		for number := 6; number <= 5+behind; number++ {
			f.want("next", f.payload(f.at(number), time.Minute), Valid)
		}
	})
	catchingUp := trips(func(f *fixture) {
		f.want("head", f.payload(f.at(5+behind), time.Minute), Valid)
	})
	if catchingUp > following/2 {
		t.Errorf("%.1f trips for %d blocks at once, %.1f one after another", catchingUp, behind, following)
	}
	t.Logf("%.1f trips for %d blocks at once, %.1f one after another", catchingUp, behind, following)
}
