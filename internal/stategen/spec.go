// SPDX-License-Identifier: LGPL-3.0-or-later

package stategen

import (
	"crypto/ecdsa"
	"errors"
	"fmt"
	"math/big"
	"sync"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/params"
)

// version is part of a state's name. It changes whenever the same Spec makes another state.
const version = 2

const (
	genesisTime = 1_700_000_000 // seconds; the blocks of the state follow at 12 s
	slotSeconds = 12
	// amsterdamTime is the timestamp of that fork, if the spec has it: after all blocks of a state,
	// before blocks with a timestamp of today.
	amsterdamTime = genesisTime + 10_000_000
	// gasLimit of all blocks. The blocks of a state use half of it, which keeps the base fee
	// constant.
	gasLimit = 1_000_000_000
)

// Spec is the size of a state, in numbers of each kind.
type Spec struct {
	Accounts  int // with a balance and nothing else
	Senders   int // funded accounts with a known key
	Contracts int
	Codes     int // different bytecodes among the contracts
	Slots     int // of all contracts, distributed unevenly: see SlotsOf
	Largest   int // slots of the first contract; 0: as SlotsOf distributes them
	Amsterdam bool
	Prague    bool // no fork after Prague
	Paris     bool // no fork after Paris and no withdrawals, for a geth v1.10
	Mainnet   bool // proxies and routers among the contracts, and blocks with the traffic of mainnet at the end: see mainnet.go
}

// Demo is a state large enough that copying it takes much longer than beaming one block.
func Demo() Spec {
	return Spec{Accounts: 200_000, Senders: 1000, Contracts: 100, Codes: 50, Slots: 600_000}
}

// Large is the state of the measurements in the README.
func Large() Spec {
	return Spec{Accounts: 1_000_000, Senders: 2000, Contracts: 2000, Codes: 500, Slots: 3_000_000}
}

// Name identifies the state: states with equal names have equal head hashes.
func (s Spec) Name() string {
	fork := "osaka"
	switch {
	case s.Amsterdam:
		fork = "amsterdam"
	case s.Paris:
		fork = "paris"
	case s.Prague:
		fork = "prague"
	}
	name := fmt.Sprintf("v%d-%s-a%d-s%d-c%d-k%d-m%d", version, fork, s.Accounts, s.Senders, s.Contracts, s.Codes, s.Slots)
	if s.Largest > 0 {
		name += fmt.Sprintf("-l%d", s.Largest)
	}
	if s.Mainnet {
		name += fmt.Sprintf("-mainnet%d", mainnetVersion)
	}
	return name
}

// Check returns what is wrong with the spec, nil if nothing is.
func (s Spec) Check() error {
	switch {
	case min(s.Accounts, s.Senders, s.Contracts, s.Codes, s.Slots, s.Largest) < 0:
		return fmt.Errorf("state spec %+v: a number is negative", s)
	case s.Mainnet && (s.Paris || s.Accounts < 100 || s.Senders == 0 || s.Contracts < 10):
		return errors.New("state spec: the traffic of mainnet needs accounts, senders and contracts, and Shanghai")
	case s.Amsterdam && s.Paris, s.Prague && (s.Amsterdam || s.Paris):
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

// SlotsOf is the number of slots of contract i. A few contracts have most of them, as on mainnet: the
// share of contract i is proportional to 1/(i+1). If Largest is set it is the number of the first one,
// and the others share the rest.
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

// Config is the chain config: all forks up to Osaka at genesis, and Amsterdam, if the spec has it, for
// blocks with a timestamp of today. With Spec.Prague or Spec.Paris there is no later fork.
func (s Spec) Config() *params.ChainConfig {
	config := *params.MergedTestChainConfig
	config.ChainID = ChainID()
	config.Ethash = nil
	if s.Paris {
		return parisConfig(&config)
	}
	if s.Prague {
		config.OsakaTime = nil
	}
	blobs := *params.DefaultBlobSchedule
	config.BlobScheduleConfig = &blobs
	if s.Amsterdam {
		at := uint64(amsterdamTime)
		config.AmsterdamTime = &at
	}
	return &config
}

// Genesis has only the system contracts and the account that makes everything else.
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

// maker is the key of the account that deploys and fills the contracts.
func maker() *ecdsa.PrivateKey { return key("maker", 0) }

func key(role string, i uint64) *ecdsa.PrivateKey {
	k, err := crypto.ToECDSA(crypto.Keccak256([]byte("sunbeam "+role), words(i)))
	if err != nil {
		panic(err) // one hash in 2^128 is not a valid key, and the inputs are fixed
	}
	return k
}

// Contract is the address of the i-th contract. The maker's first transactions deploy them.
func Contract(i int) common.Address { return crypto.CreateAddress(makerAddress(), uint64(i)) }

var makerAddress = sync.OnceValue(func() common.Address { return crypto.PubkeyToAddress(maker().PublicKey) })
