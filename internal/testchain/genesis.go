// SPDX-License-Identifier: LGPL-3.0-or-later

package testchain

import (
	"crypto/ecdsa"
	"maps"
	"math/big"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/params"
)

const (
	gasLimit = 30_000_000
	funds    = 1000 // ether
)

// Config returns a configuration under which all forks up to Osaka are active from the genesis
// block on. The caller may change it.
func Config() *params.ChainConfig {
	config := *params.MergedTestChainConfig
	return &config
}

// Key returns the private key of account n, from 1 on.
func Key(n int) *ecdsa.PrivateKey {
	key, err := crypto.ToECDSA(common.BigToHash(big.NewInt(int64(n))).Bytes())
	if err != nil {
		panic(err) // n is not positive
	}
	return key
}

// Address returns the address of account n.
func Address(n int) common.Address { return crypto.PubkeyToAddress(Key(n).PublicKey) }

// Funded allocates 1000 ether to each of the accounts 1 to n.
func Funded(n int) types.GenesisAlloc {
	alloc := make(types.GenesisAlloc)
	for i := range n {
		alloc[Address(i+1)] = types.Account{Balance: new(big.Int).Mul(big.NewInt(funds), big.NewInt(params.Ether))}
	}
	return alloc
}

// FillerAddress returns the address of the i-th filler account, from 0 on.
func FillerAddress(i int) common.Address { return common.BigToAddress(big.NewInt(int64(0x10000 + i))) }

// Filler allocates i+1 wei to the i-th of n accounts without keys. With 300 of them paths in the
// account trie are several nodes long.
func Filler(n int) types.GenesisAlloc {
	alloc := make(types.GenesisAlloc)
	for i := range n {
		alloc[FillerAddress(i)] = types.Account{Balance: big.NewInt(int64(i) + 1)}
	}
	return alloc
}

// Genesis returns a proof-of-stake genesis with the system contracts and all the accounts that
// are given; of two with one address, the later. An account without a balance has 0. A nil config stands for [Config].
func Genesis(config *params.ChainConfig, allocs ...types.GenesisAlloc) *core.Genesis {
	if config == nil {
		config = Config()
	}
	alloc := core.SystemContractAllocs()
	for _, more := range allocs {
		maps.Copy(alloc, more)
	}
	for addr, account := range alloc {
		if account.Balance == nil { // a genesis file must name it
			account.Balance = new(big.Int)
			alloc[addr] = account
		}
	}
	return &core.Genesis{
		Config: config, Alloc: alloc, GasLimit: gasLimit, BaseFee: big.NewInt(params.InitialBaseFee), Difficulty: new(big.Int),
	}
}
