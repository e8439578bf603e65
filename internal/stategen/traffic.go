// SPDX-License-Identifier: LGPL-3.0-or-later

package stategen

import (
	"context"
	"crypto/ecdsa"
	"fmt"
	"math/big"
	"math/rand/v2"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/params"
	gethrpc "github.com/ethereum/go-ethereum/rpc"
)

// Mix is the relative weight of each kind of transaction. Calls choose a random contract, large ones more
// often.
type Mix struct {
	Transfers   int // to a random existing account
	NewAccounts int // transfers to an account that does not exist yet
	Reads       int // 5-60 cold storage reads
	Writes      int // 1-10 slots
	Clears      int // 1-5 slots to zero
	Forwards    int // a read through a chain of 1-3 other contracts
	Pays        int // 1-10 payments by a contract, one in ten to a new account
	Balances    int // 5-60 balances of random accounts
	Deploys     int // a new contract

	Most int // slots or accounts that one call touches at most; 0: as above

	Mainnet bool // what blocks of mainnet touch, instead of the above; the state is one of Spec.Mainnet
}

// Mixed has transactions of all kinds.
func Mixed() Mix {
	return Mix{Transfers: 40, NewAccounts: 5, Reads: 15, Writes: 15, Clears: 3, Forwards: 10, Pays: 6, Balances: 5, Deploys: 1}
}

// Light is Mixed with small calls: a node that fetches each read one by one can follow it.
func Light() Mix {
	mix := Mixed()
	mix.Most = 3
	return mix
}

// Cold is transfers between random accounts and cold storage reads: as many trie nodes
// for the gas as possible.
func Cold() Mix { return Mix{Transfers: 50, Reads: 50} }

// Traffic makes transactions that use a state. They depend on the spec and the seed only.
type Traffic struct {
	spec   Spec
	random *rand.Rand
	signer types.Signer
	keys   []*ecdsa.PrivateKey
	nonces []uint64
	fresh  uint64 // accounts used up beyond Spec.Accounts
	recent *locality
}

// NewTraffic starts on the state that Spec.Fill made. The spec must have senders,
// accounts and, for a Mix that calls them, contracts.
func NewTraffic(spec Spec, seed uint64) *Traffic {
	t := &Traffic{
		spec:   spec,
		random: rand.New(rand.NewPCG(seed, 0)),
		signer: types.LatestSigner(spec.Config()),
		nonces: make([]uint64, spec.Senders),
	}
	for i := range spec.Senders {
		t.keys = append(t.keys, Sender(i))
	}
	if spec.Mainnet {
		t.recent = newLocality()
	}
	return t
}

// Resume reads the senders' nonces from a node whose chain has blocks after the state. Accounts that
// count as new may exist then.
func (t *Traffic) Resume(ctx context.Context, client *gethrpc.Client) error {
	for first := 0; first < len(t.keys); first += 500 {
		batch := make([]gethrpc.BatchElem, min(500, len(t.keys)-first))
		for i := range batch {
			batch[i] = gethrpc.BatchElem{
				Method: "eth_getTransactionCount",
				Args:   []any{crypto.PubkeyToAddress(t.keys[first+i].PublicKey), "latest"},
				Result: new(hexutil.Uint64),
			}
		}
		if err := client.BatchCallContext(ctx, batch); err != nil {
			return fmt.Errorf("reading nonces: %w", err)
		}
		for i, elem := range batch {
			if elem.Error != nil {
				return fmt.Errorf("reading nonces: %w", elem.Error)
			}
			t.nonces[first+i] = uint64(*elem.Result.(*hexutil.Uint64))
		}
	}
	return nil
}

// Block makes the transactions of one block that uses about the given gas.
func (t *Traffic) Block(gas uint64, mix Mix) []*types.Transaction {
	var txs []*types.Transaction
	for used := uint64(0); used < gas; {
		p := t.plan(mix)
		txs = append(txs, t.sign(p))
		used += p.use
	}
	if mix.Mainnet {
		t.recent.next()
	}
	return txs
}

// plan is a transaction before it is signed.
type plan struct {
	to    *common.Address
	value uint64
	input []byte
	use   uint64 // estimated gas used
	limit uint64 // gas limit
}

func (t *Traffic) plan(mix Mix) plan {
	if mix.Mainnet {
		return t.planMainnet()
	}
	kinds := []struct {
		weight int
		make   func() plan
	}{
		{mix.Transfers, func() plan { return transfer(Account(t.upTo(t.spec.Accounts))) }},
		{mix.NewAccounts, func() plan { return transfer(t.newAccount()) }},
		{mix.Reads, func() plan { return t.call(mix, Read, 5, 60, 2_450, 2_600) }},
		{mix.Writes, func() plan { return t.call(mix, Write, 1, 10, 5_350, 22_700) }},
		{mix.Clears, func() plan { return t.call(mix, Clear, 1, 5, 4_300, 5_600) }},
		{mix.Forwards, func() plan { return t.forward(mix) }},
		{mix.Pays, func() plan { return t.pay(mix) }},
		{mix.Balances, func() plan { return t.call(mix, Balance, 5, 60, 2_950, 3_100) }},
		{mix.Deploys, t.deploy},
	}
	total := 0
	for _, kind := range kinds {
		total += kind.weight
	}
	choice := t.random.IntN(total)
	for _, kind := range kinds {
		if choice -= kind.weight; choice < 0 {
			return kind.make()
		}
	}
	panic("unreachable: the weights sum up to total")
}

func (t *Traffic) upTo(n int) uint64 { return t.random.Uint64N(uint64(n)) }

func (t *Traffic) newAccount() common.Address {
	t.fresh++
	return Account(uint64(t.spec.Accounts) + t.fresh)
}

func transfer(to common.Address) plan {
	return plan{to: &to, value: 1, use: params.TxGas, limit: params.TxGas}
}

// contract chooses one; half of all choices fall on the larger tenth.
func (t *Traffic) contract() int {
	n := t.spec.Contracts
	if t.random.IntN(2) == 0 {
		n = (n + 9) / 10
	}
	return t.random.IntN(n)
}

// call plans a call that does something between low and high times, each time using so
// much gas, but never more than limit.
func (t *Traffic) call(mix Mix, op Op, low, high int, each, limit uint64) plan {
	if mix.Most > 0 {
		low, high = min(low, mix.Most), min(high, mix.Most)
	}
	i := t.contract()
	n := t.spec.SlotsOf(i)
	if op == Balance || op == Pay {
		n = uint64(t.spec.Accounts)
	}
	count := uint64(low + t.random.IntN(high-low+1))
	to := Contract(i)
	return plan{
		to:    &to,
		input: Call{Op: op, Seed: t.random.Uint64(), Count: count, N: max(n, 1)}.Input(),
		use:   23_000 + count*each,
		limit: 30_000 + count*limit,
	}
}

func (t *Traffic) forward(mix Mix) plan {
	p := t.call(mix, Read, 5, 30, 2_450, 2_650)
	for range 1 + t.random.IntN(3) {
		p.input = Via(*p.to, p.input)
		next := Contract(t.contract())
		p.to = &next
		p.use += 3_500
		p.limit += 8_000
	}
	return p
}

func (t *Traffic) pay(mix Mix) plan {
	p := t.call(mix, Pay, 1, 10, 9_900, 38_000)
	if t.random.IntN(10) == 0 { // N is so large that the account does not exist yet
		to := Contract(t.contract())
		p.to, p.input = &to, Call{Op: Pay, Seed: t.random.Uint64(), Count: 1, N: 1 << 63}.Input()
	}
	return p
}

func (t *Traffic) deploy() plan {
	c := t.spec.code(int(t.random.Uint32() >> 8)) // a code that no contract has yet, very likely
	gas := 60_000 + uint64(len(c))*(params.CreateDataGas+20)
	return plan{input: t.spec.initCode(c), use: gas, limit: gas + uint64(len(c))*40}
}

func (t *Traffic) sign(p plan) *types.Transaction {
	if t.spec.Amsterdam { // growing the state costs up to eight times more (EIP-8037)
		p.limit *= 10
	}
	i := t.random.IntN(len(t.keys))
	tx := types.MustSignNewTx(t.keys[i], t.signer, &types.DynamicFeeTx{
		ChainID:   ChainID(),
		Nonce:     t.nonces[i],
		GasTipCap: big.NewInt(params.GWei),
		GasFeeCap: big.NewInt(1000 * params.GWei),
		Gas:       p.limit,
		To:        p.to,
		Value:     new(big.Int).SetUint64(p.value),
		Data:      p.input,
	})
	t.nonces[i]++
	return tx
}
