package trie

import (
	"math/big"
	"slices"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
)

// thoughtUp assumes the same account and slot for everything, and that one address is not worth it.
type thoughtUp struct{ worthless common.Address }

func (a thoughtUp) Account(addr common.Address) (*types.StateAccount, bool) {
	account := types.NewEmptyStateAccount()
	account.Nonce = 7
	return account, addr != a.worthless
}

func (a thoughtUp) Slot(addr common.Address, _ common.Hash) (common.Hash, bool) {
	return common.Hash{1}, addr != a.worthless
}
func (thoughtUp) Held(common.Address)         {}
func (thoughtUp) Stub() ([]byte, common.Hash) { return []byte{0}, crypto.Keccak256Hash([]byte{0}) }

type nothing struct{}

func (nothing) Node(common.Hash, []byte, common.Hash) ([]byte, error) { return nil, nil }
func (nothing) Code(common.Hash) ([]byte, error)                      { return nil, nil }

// TestGuessRiders notes storage of accounts that are not held with the account, once.
func TestGuessRiders(t *testing.T) {
	guess := OpenGuess(common.Hash{1}, nothing{})
	guess.Assume = thoughtUp{common.Address{9}}
	reader, err := guess.Reader(common.Hash{1})
	if err != nil {
		t.Fatal(err)
	}
	slots := []common.Hash{common.BigToHash(big.NewInt(1)), common.BigToHash(big.NewInt(2))}
	guess.Want(common.Address{1}, slots[0])
	if guess.Missed() {
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
	faults, codes := guess.Missing()
	if len(faults) != 1 || len(codes) != 0 || !guess.Missed() {
		t.Fatalf("faults %v, codes %v", faults, codes)
	}
	want := []common.Hash{crypto.Keccak256Hash(slots[0][:]), crypto.Keccak256Hash(slots[1][:])}
	if got := faults[0]; !slices.Equal(got.Riders, want) || !slices.Equal(got.Key, Nibbles(crypto.Keccak256Hash(common.Address{1}.Bytes()))) {
		t.Errorf("fault %+v", got)
	}
}

// TestGuessStub answers for a code that is not held under another hash.
func TestGuessStub(t *testing.T) {
	guess := OpenGuess(common.Hash{1}, nothing{})
	guess.Assume = thoughtUp{}
	reader, err := guess.Reader(common.Hash{1})
	if err != nil {
		t.Fatal(err)
	}
	_, stub := thoughtUp{}.Stub()
	if code := reader.Code(common.Address{1}, stub); len(code) != 1 || crypto.Keccak256Hash(code) != stub {
		t.Errorf("stub %x", code)
	}
	if code := reader.Code(common.Address{1}, common.Hash{5}); code != nil {
		t.Errorf("code %x", code)
	}
	if _, codes := guess.Missing(); !slices.Equal(codes, []common.Hash{{5}}) {
		t.Errorf("codes %x", codes)
	}
}
