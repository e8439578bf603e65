// SPDX-License-Identifier: LGPL-3.0-or-later

package warmup

import (
	"math/big"
	"reflect"
	"slices"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/core/types/bal"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/holiman/uint256"

	"github.com/sunbeam-eth/sunbeam/evm"
	"github.com/sunbeam-eth/sunbeam/internal/testchain"
	"github.com/sunbeam-eth/sunbeam/trie"
)

func address(n byte) common.Address { return common.Address{n} }

func mentioned(addrs ...byte) mentions {
	m := make(mentions)
	for _, n := range addrs {
		m.add(address(n))
	}
	return m
}

// TestTallyOrder: what newer blocks name comes first, and so does what many older ones name; equal scores have an order too.
func TestTallyOrder(t *testing.T) {
	tally := newTally()
	for age := uint64(1); age <= Window; age++ {
		m := mentioned(1) // in each block
		switch {
		case age == 8:
			m = mentioned(1, 2, 3)
		case age == 32:
			m = mentioned(1, 4)
		case age >= 100 && age < 108:
			m = mentioned(1, 5) // 8 times
		case age == 128, age == Window:
			m = mentioned(1, 6)
		}
		tally.add(age, m)
	}
	want := []common.Address{address(1), address(5), address(2), address(3), address(4), address(6)}
	if got := slices.Clone(tally.best(100, 1)); !slices.Equal(got, want) {
		t.Errorf("order %x, want %x", got, want)
	}
	if got := tally.best(100, recentScore); !slices.Equal(got, want[:5]) {
		t.Errorf("recent %x", got)
	}
	tally.take(tally.best(2, 1))
	if got := tally.best(1, 1); !slices.Equal(got, want[2:3]) {
		t.Errorf("after two: %x", got)
	}
	tally.add(1, mentioned(6, 5, 7)) // 5 was taken
	if got := tally.best(2, 1); !slices.Equal(got, []common.Address{address(6), address(2)}) {
		t.Errorf("after one more block: %x", got)
	}
}

// TestTallyBounds: neither addresses nor their slots grow without end, and old blocks count nothing.
func TestTallyBounds(t *testing.T) {
	tally, m := newTally(), make(mentions)
	for n := range maxAddresses + 10 {
		m.add(common.BigToAddress(big.NewInt(int64(n))))
	}
	tally.add(1, m)
	slots := make([]common.Hash, maxSlots+10)
	for n := range slots {
		slots[n] = common.BigToHash(big.NewInt(int64(n)))
	}
	first := tally.best(1, 1)
	for range 3 {
		tally.add(1, mentions{first[0]: slots})
	}
	if got := len(tally.best(1<<20, 1)); got != maxAddresses {
		t.Errorf("%d addresses", got)
	}
	if touched := tally.touched(first); len(touched.Accounts) != 1 || len(touched.Accounts[0].Slots) != maxSlots || !touched.Accounts[0].Code {
		t.Errorf("touched %d", len(touched.Accounts[0].Slots))
	}
	if weight(Window+1) != 0 {
		t.Error("a block below the window counts")
	}
}

// TestMentions: all that a block names is found, each once.
func TestMentions(t *testing.T) {
	key, config := testchain.Key(1), testchain.Config()
	auth, err := types.SignSetCode(testchain.Key(2), types.SetCodeAuthorization{Address: address(5)})
	if err != nil {
		t.Fatal(err)
	}
	header := &types.Header{Number: big.NewInt(1), Coinbase: address(1), Difficulty: new(big.Int), BaseFee: big.NewInt(1)}
	signer := types.MakeSigner(config, header.Number, 0)
	to, slot := address(2), common.Hash{31: 7}
	list := types.AccessList{{Address: address(4), StorageKeys: []common.Hash{slot, slot}}}
	txs := []*types.Transaction{
		types.MustSignNewTx(key, signer, &types.DynamicFeeTx{To: &to, AccessList: list}),
		types.MustSignNewTx(key, signer, &types.LegacyTx{}),
		types.MustSignNewTx(testchain.Key(3), signer, &types.SetCodeTx{To: to, AuthList: []types.SetCodeAuthorization{auth}}),
	}
	block := types.NewBlockWithHeader(header).WithBody(types.Body{
		Transactions: txs, Withdrawals: []*types.Withdrawal{{Address: address(6)}},
	})
	receipts := types.Receipts{{Logs: []*types.Log{{Address: address(3)}, {Address: address(2)}}}, {}, {}}
	m := mentionsOf(block, evm.NewExecutor(config).Senders(block), receipts)
	created := crypto.CreateAddress(testchain.Address(1), 0)
	want := []common.Address{
		address(1), address(2), address(3), address(4), address(5), address(6), created,
		testchain.Address(1), testchain.Address(2), testchain.Address(3),
	}
	for _, addr := range want {
		if _, found := m[addr]; !found {
			t.Errorf("%x is not found", addr)
		}
	}
	if len(m) != len(want) {
		t.Errorf("%d addresses, want %d", len(m), len(want))
	}
	if got := m.touched([]common.Address{address(4)}).Accounts[0]; !slices.Equal(got.Slots, []common.Hash{slot}) {
		t.Errorf("slots %x", got.Slots)
	}
}

// TestListed: an access list names accounts, and the slots that are read or changed.
func TestListed(t *testing.T) {
	slot := func(n uint64) *uint256.Int { return uint256.NewInt(n) }
	changed := bal.AccountAccess{Address: address(1), StorageReads: []*uint256.Int{slot(5)}}
	changed.StorageChanges = slices.Grow(changed.StorageChanges, 1)[:1] // its type has no name outside
	changed.StorageChanges[0].Slot = slot(4)
	touched := listed(bal.BlockAccessList{{Address: address(2), StorageReads: []*uint256.Int{slot(9), slot(3)}}, changed})
	want := []trie.TouchedAccount{
		{Address: address(1), Code: true, Slots: []common.Hash{{31: 4}, {31: 5}}},
		{Address: address(2), Code: true, Slots: []common.Hash{{31: 3}, {31: 9}}},
	}
	if !reflect.DeepEqual(touched.Accounts, want) {
		t.Errorf("%v, want %v", touched.Accounts, want)
	}
}
