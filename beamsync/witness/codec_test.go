// SPDX-License-Identifier: LGPL-3.0-or-later

package witness

import (
	"errors"
	"fmt"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/rlp"

	"github.com/sunbeam-eth/sunbeam/trie"
)

// touchedAtRandom is a well-formed list of keys.
func touchedAtRandom(seed uint64, accounts int) *trie.Touched {
	random := rand.New(rand.NewPCG(seed, 2))
	paths := func(n int) (list [][]byte) {
		for range n {
			path := make([]byte, random.IntN(20))
			for i := range path {
				path[i] = byte(random.IntN(16))
			}
			list = append(list, path)
		}
		slices.SortFunc(list, slices.Compare)
		return slices.CompactFunc(list, slices.Equal)
	}
	touched := &trie.Touched{Paths: paths(5)}
	for i := range accounts {
		account := trie.TouchedAccount{Address: common.BigToAddress(big.NewInt(int64(i)*1000 + 7)), Code: random.IntN(2) == 0, Paths: paths(random.IntN(3))}
		for s := range random.IntN(20) {
			slot := common.BigToHash(big.NewInt(int64(s)))
			if s > 10 {
				slot[0] = byte(s)
			}
			account.Slots = append(account.Slots, slot)
		}
		touched.Accounts = append(touched.Accounts, account)
	}
	return touched
}

func TestTouchedCodec(t *testing.T) {
	for seed := range uint64(50) {
		touched := touchedAtRandom(seed, int(seed))
		encoded := encode(touched)
		decoded, err := decodeTouched(encoded, touched.Keys())
		if err != nil {
			t.Fatal(err)
		}
		if got, want := fmt.Sprintf("%v", decoded), fmt.Sprintf("%v", touched); got != want {
			t.Fatalf("got %s, want %s", got, want)
		}
		if touched.Keys() > 0 {
			if _, err := decodeTouched(encoded, touched.Keys()-1); !errors.Is(err, errTooManyKeys) {
				t.Fatalf("one key too many: %v", err)
			}
		}
	}
}

// TestTouchedEncoding pins the encoding down: docs/wit.md has the same example.
func TestTouchedEncoding(t *testing.T) {
	touched := &trie.Touched{
		Accounts: []trie.TouchedAccount{
			{Address: common.Address{1}},
			{Address: common.Address{2}, Code: true, Slots: []common.Hash{{}, {31: 5}, {30: 1}}, Paths: [][]byte{{}, {0xa, 0xb, 0xc}}},
		},
		Paths: [][]byte{{1, 2}},
	}
	want := "f841" +
		"f83b" +
		"d8" + "940100000000000000000000000000000000000000" + "80" + "c0" + "c0" +
		"e1" + "940200000000000000000000000000000000000000" + "01" + "c5" + "80" + "05" + "820100" + "c4" + "00" + "821abc" +
		"c3" + "820012"
	if got := fmt.Sprintf("%x", encode(touched)); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestTouchedIsCut: whatever does not fit is left out, and what is left is well-formed.
func TestTouchedIsCut(t *testing.T) {
	many := func(n int) (slots []common.Hash) {
		for i := range n {
			slots = append(slots, common.BigToHash(new(big.Int).Add(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(int64(i)))))
		}
		return slots
	}
	deep := make([][]byte, 1000)
	for i := range deep {
		deep[i] = []byte{byte(i / 256), byte(i / 16 % 16), byte(i % 16)}
	}
	for i, touched := range []*trie.Touched{
		{Accounts: []trie.TouchedAccount{{Slots: many(100_000)}}},
		{Accounts: []trie.TouchedAccount{{Slots: many(63_000), Paths: deep}, {Address: common.Address{1}, Slots: many(1000), Paths: deep}}, Paths: deep},
		touchedAtRandom(1, 100_000),
	} {
		encoded := encode(touched)
		if len(encoded) > maxKeysBytes || len(encoded) < maxKeysBytes*3/4 {
			t.Errorf("%d: %d bytes", i, len(encoded))
		}
		if _, err := decodeTouched(encoded, touched.Keys()); err != nil {
			t.Errorf("%d: %v", i, err)
		}
	}
}

func TestMalformedKeys(t *testing.T) {
	list := func(v ...any) []any { return append([]any{}, v...) }
	address, next := common.Address{1}, common.Address{2}
	account := func(fields ...any) any { return list(list(append(list(address), fields...)), list()) }
	for name, packet := range map[string]any{
		"no list":              "abc",
		"nothing":              list(),
		"accounts only":        list(list()),
		"a third field":        list(list(), list(), list()),
		"accounts no list":     list("abc", list()),
		"account no list":      list(list("abc"), list()),
		"short address":        list(list(list([]byte{1}, uint(0), list(), list())), list()),
		"address a list":       list(list(list(list(), uint(0), list(), list())), list()),
		"code 2":               account(uint(2), list(), list()),
		"code a list":          account(list(), list(), list()),
		"no slots":             account(uint(0)),
		"no paths":             account(uint(0), list()),
		"a fifth field":        account(uint(0), list(), list(), list()),
		"slots no list":        account(uint(0), "abc", list()),
		"slot of 33 bytes":     account(uint(0), list(make([]byte, 33)), list()),
		"slot with zeros":      account(uint(0), list([]byte{0, 1}), list()),
		"slot a list":          account(uint(0), list(list()), list()),
		"slots out of order":   account(uint(0), list(uint(2), uint(1)), list()),
		"slot twice":           account(uint(0), list(uint(2), uint(2)), list()),
		"path empty":           account(uint(0), list(), list("")),
		"path with terminator": account(uint(0), list(), list([]byte{0x20, 1})),
		"path with padding":    account(uint(0), list(), list([]byte{0x01, 1})),
		"path too long":        account(uint(0), list(), list(make([]byte, 33))),
		"path a list":          account(uint(0), list(), list(list())),
		"paths out of order":   list(list(), list([]byte{0x12}, []byte{0x11})),
		"accounts unordered":   list(list(list(next, uint(0), list(), list()), list(address, uint(0), list(), list())), list()),
		"account twice":        list(list(list(address, uint(0), list(), list()), list(address, uint(0), list(), list())), list()),
	} {
		encoded, err := rlp.EncodeToBytes(packet)
		if err != nil {
			t.Fatal(name, err)
		}
		if touched, err := decodeTouched(encoded, 1000); err == nil {
			t.Errorf("%s: taken as %+v", name, touched)
		}
	}
	if _, err := decodeTouched(append(encode(&trie.Touched{}), 0), 1000); err == nil {
		t.Error("a byte more")
	}
}

// FuzzDecodeTouched: anything decodes to what encodes to the same again, or not at all.
func FuzzDecodeTouched(f *testing.F) {
	for seed := range uint64(5) {
		f.Add([]byte(encode(touchedAtRandom(seed, int(seed)))))
	}
	f.Fuzz(func(t *testing.T, encoded []byte) {
		touched, err := decodeTouched(encoded, 1000)
		if err != nil {
			return
		}
		if touched.Keys() > 1000 {
			t.Fatalf("%d keys", touched.Keys())
		}
		if again := encode(touched); string(again) != string(encoded) {
			t.Fatalf("%x, then %x", encoded, again)
		}
		_, _, _ = touched.Missing(trie.NewCache(1<<20, nil), common.Hash{1})
	})
}
