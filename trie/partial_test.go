// SPDX-License-Identifier: LGPL-3.0-or-later

package trie

import (
	"errors"
	"math/big"
	"slices"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/state"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
)

// placeholders is a Fallback with one account and one slot for everything. One address is not worth fetching.
type placeholders struct{ ignored common.Address }

func (a placeholders) Account(addr common.Address) (*types.StateAccount, bool) {
	account := types.NewEmptyStateAccount()
	account.Nonce = 7
	return account, addr != a.ignored
}

func (a placeholders) Slot(addr common.Address, _ common.Hash) (common.Hash, bool) {
	return common.Hash{1}, addr != a.ignored
}
func (placeholders) Hit(common.Address) {}
func (placeholders) Placeholder() ([]byte, common.Hash) {
	return []byte{0}, crypto.Keccak256Hash([]byte{0})
}

type nothing struct{}

func (nothing) Node(common.Hash, []byte, common.Hash) ([]byte, error) { return nil, nil }
func (nothing) Code(common.Hash) ([]byte, error)                      { return nil, nil }

// TestPartialStorageKeys records slots of a missing account with its fault, once each.
func TestPartialStorageKeys(t *testing.T) {
	partial := NewLookupCache(common.Hash{1}, nothing{}).State()
	partial.Fallback = placeholders{common.Address{9}}
	reader, err := partial.Reader(common.Hash{1})
	if err != nil {
		t.Fatal(err)
	}
	slots := []common.Hash{common.BigToHash(big.NewInt(1)), common.BigToHash(big.NewInt(2))}
	partial.Want(common.Address{1}, slots[0])
	if partial.Missed() {
		t.Error("what is only wanted counts as missed")
	}
	for range 2 {
		for _, slot := range slots {
			if value, err := reader.Storage(common.Address{1}, slot); err != nil || value != (common.Hash{1}) {
				t.Error(value, err)
			}
		}
	}
	if account, err := reader.Account(common.Address{9}); err != nil || account.Nonce != 7 {
		t.Error(account, err)
	}
	if _, err := reader.Storage(common.Address{9}, slots[0]); err != nil {
		t.Error(err)
	}
	faults, codes := partial.Missing()
	if len(faults) != 1 || len(codes) != 0 || !partial.Missed() {
		t.Fatalf("faults %v, codes %v", faults, codes)
	}
	want := []common.Hash{crypto.Keccak256Hash(slots[0][:]), crypto.Keccak256Hash(slots[1][:])}
	if got := faults[0]; !slices.Equal(got.StorageKeys, want) || !slices.Equal(got.Key, Nibbles(crypto.Keccak256Hash(common.Address{1}.Bytes()))) {
		t.Errorf("fault %+v", got)
	}
}

// TestPartialPlaceholder replaces missing code by a placeholder with a hash of its own.
func TestPartialPlaceholder(t *testing.T) {
	partial := NewLookupCache(common.Hash{1}, nothing{}).State()
	partial.Fallback = placeholders{}
	reader, err := partial.Reader(common.Hash{1})
	if err != nil {
		t.Fatal(err)
	}
	_, placeholder := placeholders{}.Placeholder()
	if code := reader.Code(common.Address{1}, placeholder); len(code) != 1 || crypto.Keccak256Hash(code) != placeholder {
		t.Errorf("placeholder %x", code)
	}
	if code := reader.Code(common.Address{1}, common.Hash{5}); code != nil {
		t.Errorf("code %x", code)
	}
	if _, codes := partial.Missing(); !slices.Equal(codes, []common.Hash{{5}}) {
		t.Errorf("codes %x", codes)
	}
}

var errStore = errors.New("the store failed")

// failing is a store whose every read fails.
type failing struct{}

func (failing) Node(common.Hash, []byte, common.Hash) ([]byte, error) { return nil, errStore }
func (failing) Code(common.Hash) ([]byte, error)                      { return nil, errStore }

// TestPartialFailures lets no failed read go unnoticed: it is an error, or it counts as missed.
func TestPartialFailures(t *testing.T) {
	for name, read := range map[string]func(*PartialState, state.Reader) error{
		"account": func(_ *PartialState, r state.Reader) error { _, err := r.Account(common.Address{1}); return err },
		"slot": func(_ *PartialState, r state.Reader) error {
			_, err := r.Storage(common.Address{1}, common.Hash{1})
			return err
		},
		"code":      func(_ *PartialState, r state.Reader) error { r.Code(common.Address{1}, common.Hash{5}); return nil },
		"code size": func(_ *PartialState, r state.Reader) error { r.CodeSize(common.Address{1}, common.Hash{5}); return nil },
		"storage trie": func(p *PartialState, _ state.Reader) error {
			opened, err := p.OpenStorageTrie(common.Hash{1}, common.Address{1}, common.Hash{2}, nil)
			if err != nil {
				return err
			}
			return opened.UpdateStorage(common.Address{1}, []byte{1}, []byte{2})
		},
	} {
		partial := NewLookupCache(common.Hash{1}, failing{}).State()
		reader, err := partial.Reader(common.Hash{1})
		if err != nil {
			t.Fatal(err)
		}
		if err := read(partial, reader); err == nil && !partial.Missed() {
			t.Errorf("%s: the failure went unnoticed", name)
		}
		if err := partial.Failed(); !errors.Is(err, errStore) {
			t.Errorf("%s: failed with %v", name, err)
		}
		if partial.ForgetMissed(); partial.Failed() != nil {
			t.Errorf("%s: still failed", name)
		}
	}
	partial := NewLookupCache(common.Hash{1}, nothing{}).State()
	reader, _ := partial.Reader(common.Hash{1})
	for range 2 { // each time anew
		if _, err := reader.Account(common.Address{1}); !errors.Is(err, errMissing) || !partial.Missed() || partial.Failed() != nil {
			t.Errorf("missed %t, %v", partial.Missed(), err)
		}
		if partial.ForgetMissed(); partial.Missed() {
			t.Error("still missed")
		}
	}
	if faults, _ := partial.Missing(); len(faults) != 1 {
		t.Errorf("%d faults", len(faults))
	}
}
