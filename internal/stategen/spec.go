package stategen

import (
	"crypto/ecdsa"
	"errors"
	"fmt"
	"math/big"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/params"
)

// version is part of a state's name: it changes when the same Spec gives another state.
const version = 2

const (
	genesisTime = 1_700_000_000 // seconds; the blocks of the state follow at 12 s
	slotSeconds = 12
	// amsterdamTime is when that fork starts if it is wanted: after every block of a
	// state, before any block with a time of today.
	amsterdamTime = genesisTime + 10_000_000
	// gasLimit of all blocks. The blocks of a state fill half of it, which is where the
	// base fee stands still.
	gasLimit = 1_000_000_000
)

// Spec says how large a state is. The zero value of a field means none of it.
type Spec struct {
	Accounts  int // with a balance and nothing else
	Senders   int // with a known key, rich
	Contracts int
	Codes     int // how many different codes the contracts have
	Slots     int // of all contracts together, very unevenly: see SlotsOf
	Largest   int // slots of the first contract; 0: its share of Slots
	Amsterdam bool
	Paris     bool // for a geth v1.10: no later fork, made by transactions alone
}

// Demo is a state large enough to tell beaming from copying.
func Demo() Spec {
	return Spec{Accounts: 200_000, Senders: 1000, Contracts: 100, Codes: 50, Slots: 600_000}
}

// Large is the state on which the numbers in the README were measured.
func Large() Spec {
	return Spec{Accounts: 1_000_000, Senders: 2000, Contracts: 2000, Codes: 500, Slots: 3_000_000}
}

// Name tells states apart: equal names, equal head hashes.
func (s Spec) Name() string {
	fork := "osaka"
	switch {
	case s.Amsterdam:
		fork = "amsterdam"
	case s.Paris:
		fork = "paris"
	}
	name := fmt.Sprintf("v%d-%s-a%d-s%d-c%d-k%d-m%d", version, fork, s.Accounts, s.Senders, s.Contracts, s.Codes, s.Slots)
	if s.Largest > 0 {
		name += fmt.Sprintf("-l%d", s.Largest)
	}
	return name
}

// Check says what is wrong with a spec.
func (s Spec) Check() error {
	switch {
	case min(s.Accounts, s.Senders, s.Contracts, s.Codes, s.Slots, s.Largest) < 0:
		return fmt.Errorf("state spec %+v: a number is negative", s)
	case s.Amsterdam && s.Paris:
		return errors.New("state spec: two forks")
	case s.Paris && s.Accounts > 0 && s.Contracts == 0:
		return errors.New("state spec: in Paris, a contract makes the accounts")
	case s.Contracts > 0 && (s.Codes == 0 || s.Codes > s.Contracts):
		return fmt.Errorf("state spec: %d codes for %d contracts", s.Codes, s.Contracts)
	case s.Slots > 0 && s.Contracts == 0:
		return fmt.Errorf("state spec: %d slots without contracts", s.Slots)
	case s.Largest > s.Slots || s.Largest > 0 && s.Largest < s.Slots && s.Contracts < 2:
		return fmt.Errorf("state spec: %d slots of the first of %d contracts, %d of all", s.Largest, s.Contracts, s.Slots)
	}
	return nil
}

// SlotsOf is the number of slots of contract i. A few contracts have most of them, as in
// life: contract i gets a share in proportion to 1/(i+1). If the first one has Largest, the
// others share the rest that way.
func (s Spec) SlotsOf(i int) uint64 {
	contracts, slots := s.Contracts, s.Slots
	if s.Largest > 0 {
		if i == 0 {
			return uint64(s.Largest)
		}
		contracts, slots, i = contracts-1, slots-s.Largest, i-1
	}
	var sum float64
	for k := 1; k <= contracts; k++ {
		sum += 1 / float64(k)
	}
	return uint64(float64(slots) / sum / float64(i+1))
}

// ChainID of all generated chains.
func ChainID() *big.Int { return big.NewInt(7_182_818) }

// Config is the chain config: every fork up to Osaka from the start, Amsterdam (if
// wanted) for blocks with a time of today. If Paris is wanted, that is the last one.
func (s Spec) Config() *params.ChainConfig {
	config := *params.MergedTestChainConfig
	config.ChainID = ChainID()
	config.Ethash = nil
	if s.Paris {
		return parisConfig(&config)
	}
	blobs := *params.DefaultBlobSchedule
	config.BlobScheduleConfig = &blobs
	if s.Amsterdam {
		at := uint64(amsterdamTime)
		config.AmsterdamTime = &at
	}
	return &config
}

// Genesis is small: the system contracts and the account that makes all the rest.
func (s Spec) Genesis() *core.Genesis {
	alloc := make(types.GenesisAlloc)
	if !s.Paris {
		alloc = core.SystemContractAllocs()
	}
	alloc[crypto.PubkeyToAddress(maker().PublicKey)] = types.Account{Balance: new(big.Int).Lsh(common.Big1, 120)}
	return &core.Genesis{
		Config:     s.Config(),
		Timestamp:  genesisTime,
		GasLimit:   gasLimit,
		BaseFee:    big.NewInt(params.InitialBaseFee),
		Difficulty: new(big.Int),
		ExtraData:  []byte("sunbeam generated state"),
		Alloc:      alloc,
	}
}

// Sender is the key of the i-th sender.
func Sender(i int) *ecdsa.PrivateKey { return key("sender", uint64(i)) }

// maker deploys and fills the contracts.
func maker() *ecdsa.PrivateKey { return key("maker", 0) }

func key(role string, i uint64) *ecdsa.PrivateKey {
	k, err := crypto.ToECDSA(crypto.Keccak256([]byte("sunbeam "+role), words(i)))
	if err != nil {
		panic(err) // one hash in 2^128 is no key; these are
	}
	return k
}

// Contract is the address of the i-th contract. Contracts come first in the maker's life.
func Contract(i int) common.Address {
	return crypto.CreateAddress(crypto.PubkeyToAddress(maker().PublicKey), uint64(i))
}
