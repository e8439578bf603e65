// SPDX-License-Identifier: LGPL-3.0-or-later

package evm

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/params"
)

var cacheGenesis = common.HexToHash("0x6e")

// learnedExecutor is an executor with a speculation cache of a given number of accounts.
func learnedExecutor(accounts int) *Executor {
	e := NewExecutor(params.MainnetChainConfig)
	random := rand.New(rand.NewPCG(1, 2))
	hash := func() (h common.Hash) {
		for i := random.IntN(32); i < 32; i++ {
			h[i] = byte(random.Uint32())
		}
		return h
	}
	for range accounts {
		addr := common.BytesToAddress(hash().Bytes())
		e.lastSeen.hashes.Add(addr, hash())
		for range 3 {
			e.lastSeen.slots.Add(slotKey{addr, hash()}, hash())
		}
		e.profiles.record(selector(hash().Bytes()), addr, []common.Hash{hash(), hash()})
	}
	return e
}

// TestSpeculationCacheRoundTrip: an executor that reads the encoding knows what the other one knew, and forgets it in the same order.
func TestSpeculationCacheRoundTrip(t *testing.T) {
	for _, accounts := range []int{0, 1, 3000} {
		before, after := learnedExecutor(accounts), NewExecutor(params.MainnetChainConfig)
		encoded, err := before.EncodeSpeculationCache(cacheGenesis)
		if full := len(encoded) / max(accounts, 1) * maxSeenAccounts; err != nil || accounts > 1 && full > MaxSpeculationCache {
			t.Fatalf("%d bytes, %v", len(encoded), err)
		}
		if err := after.DecodeSpeculationCache(encoded, cacheGenesis); err != nil {
			t.Fatal(err)
		}
		again, err := after.EncodeSpeculationCache(cacheGenesis)
		if err != nil || !bytes.Equal(again, encoded) {
			t.Errorf("%d accounts: encoded anew it differs, %v", accounts, err)
		}
		for _, function := range before.profiles.byFunction.Keys() {
			if want, got := before.profiles.commonSlots(function), after.profiles.commonSlots(function); !reflect.DeepEqual(got, want) {
				t.Fatalf("slots of function %x: %x, want %x", function, got, want)
			}
		}
	}
}

// TestSpeculationCacheRefuses: a content that was changed anywhere, cut, or written for something else is refused whole.
func TestSpeculationCacheRefuses(t *testing.T) {
	encoded, err := learnedExecutor(3).EncodeSpeculationCache(cacheGenesis)
	if err != nil {
		t.Fatal(err)
	}
	e := NewExecutor(params.MainnetChainConfig)
	for i := range encoded {
		changed := bytes.Clone(encoded)
		changed[i] ^= 1
		if err := e.DecodeSpeculationCache(changed, cacheGenesis); !errors.Is(err, ErrCacheDamaged) {
			t.Fatalf("byte %d changed: %v", i, err)
		}
		if err := e.DecodeSpeculationCache(encoded[:i], cacheGenesis); !errors.Is(err, ErrCacheDamaged) {
			t.Fatalf("%d bytes: %v", i, err)
		}
	}
	if err := e.DecodeSpeculationCache(encoded, common.Hash{1}); !errors.Is(err, ErrCacheForeign) {
		t.Errorf("of another chain: %v", err)
	}
	if e.lastSeen.hashes.Len()+e.lastSeen.slots.Len()+e.profiles.byFunction.Len() != 0 {
		t.Error("refused content was added")
	}
}

// FuzzSpeculationCache: content with a right checksum never does more than be refused.
func FuzzSpeculationCache(f *testing.F) {
	encoded, err := learnedExecutor(2).EncodeSpeculationCache(cacheGenesis)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(encoded[:len(encoded)-common.HashLength])
	f.Fuzz(func(t *testing.T, content []byte) {
		e := NewExecutor(params.MainnetChainConfig)
		if err := e.DecodeSpeculationCache(checksummed(bytes.Clone(content)), cacheGenesis); err != nil && !errors.Is(err, ErrCacheDamaged) && !errors.Is(err, ErrCacheForeign) {
			t.Error(err)
		}
		for _, function := range e.profiles.byFunction.Keys() {
			e.profiles.commonSlots(function)
		}
	})
}
