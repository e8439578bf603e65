// SPDX-License-Identifier: LGPL-3.0-or-later

package node

import (
	"bytes"
	"fmt"
	"math/big"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/beacon/engine"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/stateless"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/core/vm"
	"github.com/ethereum/go-ethereum/core/vm/program"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rlp"
	gethrpc "github.com/ethereum/go-ethereum/rpc"

	"github.com/sunbeam-eth/sunbeam/internal/gethpeer"
)

// witnessFork has the versions of the methods in a fork.
type witnessFork struct {
	name                      string
	forkchoice, get, new      int // versions
	root, requests, amsterdam bool
}

// witnessForks follow one another, two blocks each.
var witnessForks = []witnessFork{
	{"paris", 1, 1, 1, false, false, false},
	{"shanghai", 2, 2, 2, false, false, false},
	{"cancun", 3, 3, 3, true, false, false},
	{"prague", 3, 4, 4, true, true, false},
	{"osaka", 3, 5, 4, true, true, false},
	{"amsterdam", 4, 6, 5, true, true, true},
}

const (
	witnessBegin = 1000 // timestamp of genesis
	witnessSlot  = 12
)

// witnessPair is this node and a geth on one chain.
type witnessPair struct {
	*testing.T
	ours, geth *gethrpc.Client
	signer     types.Signer
	nonce      uint64
	head       common.Hash
	number     uint64
}

// TestWitnessSameAsGeth proposes blocks by this node and by geth, in all forks: the witness that a builder returns with its payload, and those
// that both nodes return when they import it, are the same, and each executes the payload on that of the other.
func TestWitnessSameAsGeth(t *testing.T) {
	p := newWitnessPair(t)
	for i, fork := range witnessForks {
		for j, builder := range []*gethrpc.Client{p.ours, p.geth} {
			p.transact()
			built := p.build(fork, builder, uint64(witnessBegin+witnessSlot*(2*i+j+1)))
			p.importBoth(fork, built)
		}
	}
}

func newWitnessPair(t *testing.T) *witnessPair {
	genesis := pragueGenesis()
	config := genesis.Config
	genesis.Timestamp = witnessBegin
	for i, at := range []**uint64{&config.ShanghaiTime, &config.CancunTime, &config.PragueTime, &config.OsakaTime, &config.AmsterdamTime} {
		first := uint64(witnessBegin + witnessSlot*(2*i+3))
		*at = &first
	}
	store := program.New().Push(0).Op(vm.SLOAD).Push(1).Op(vm.ADD, vm.DUP1).Push(0).Op(vm.SSTORE).Push(common.Address{0xee}.Bytes()).Op(vm.BALANCE, vm.ADD)
	store.Push(3).Op(vm.NUMBER, vm.SUB, vm.BLOCKHASH, vm.STOP)
	genesis.Alloc[slotAddr] = types.Account{Code: store.Bytes(), Balance: common.Big0, Storage: map[common.Hash]common.Hash{{31: 9}: {1}, {31: 7}: {2}}}
	for i := range 200 { // paths of several nodes
		genesis.Alloc[common.BigToAddress(big.NewInt(int64(0x10000+i)))] = types.Account{Balance: common.Big1}
	}
	binary, err := gethpeer.Binary(t.Context())
	check(t, err)
	geth, err := gethpeer.Start(t.Context(), gethpeer.Config{Binary: binary, Dir: filepath.Join(t.TempDir(), "geth"), Genesis: genesis, CacheMB: 64})
	check(t, err)
	t.Cleanup(func() { check(t, geth.Close()) })
	cfg := localConfig(t)
	check(t, Init(cfg, genesis, discard))
	n := start(t, cfg)
	t.Cleanup(func() { n.stop(t) })
	ours, err := gethrpc.Dial(n.cfg.IPCEndpoint())
	check(t, err)
	t.Cleanup(ours.Close)
	return &witnessPair{T: t, ours: ours, geth: geth.RPC(), signer: types.LatestSigner(config), head: genesis.ToBlock().Hash()}
}

// transact sends a call of a contract, a creation and a transfer to both pools, and waits until both have them.
func (p *witnessPair) transact() {
	p.Helper()
	calls := []types.TxData{
		&types.LegacyTx{To: &slotAddr, Gas: 100_000},
		&types.LegacyTx{Gas: 200_000, Data: program.New().ReturnViaCodeCopy([]byte{1, 2, 3, byte(p.nonce)}).Bytes()},
		&types.LegacyTx{To: &common.Address{0xaa, byte(p.nonce)}, Gas: 21_000, Value: common.Big1},
	}
	for _, call := range calls {
		legacy := call.(*types.LegacyTx)
		legacy.Nonce, legacy.GasPrice = p.nonce, big.NewInt(20e9)
		p.nonce++
		raw, err := types.MustSignNewTx(richKey, p.signer, legacy).MarshalBinary()
		check(p.T, err)
		for _, client := range []*gethrpc.Client{p.ours, p.geth} {
			check(p.T, client.CallContext(p.Context(), new(common.Hash), "eth_sendRawTransaction", hexutil.Bytes(raw)))
		}
	}
	for _, client := range []*gethrpc.Client{p.ours, p.geth} {
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
			var nonce hexutil.Uint64
			check(p.T, client.CallContext(p.Context(), &nonce, "eth_getTransactionCount", crypto.PubkeyToAddress(richKey.PublicKey), "pending"))
			if uint64(nonce) == p.nonce {
				break
			}
			if time.Now().After(deadline) {
				p.Fatalf("the pool has nonce %d, want %d", nonce, p.nonce)
			}
		}
	}
}

// builtPayload is a payload with what newPayload needs in addition.
type builtPayload struct {
	engine.ExecutionPayloadEnvelope
	root *common.Hash
}

// build has a node build on the head, and returns the payload once it has the transactions.
func (p *witnessPair) build(fork witnessFork, builder *gethrpc.Client, time uint64) *builtPayload {
	p.Helper()
	attributes := engine.PayloadAttributes{Timestamp: time, Random: common.Hash{byte(time)}, SuggestedFeeRecipient: common.Address{0xfe}}
	if fork.name != "paris" {
		attributes.Withdrawals = []*types.Withdrawal{{Index: time, Address: common.Address{0x77}, Amount: 5}}
	}
	if fork.root {
		attributes.BeaconRoot = &common.Hash{byte(time), 1}
	}
	args := []any{engine.ForkchoiceStateV1{HeadBlockHash: p.head}, &attributes}
	if fork.amsterdam {
		slot, limit := time, uint64(30_000_000)
		attributes.SlotNumber, attributes.TargetGasLimit = &slot, &limit
	}
	for tries := 1; ; tries++ {
		var response engine.ForkChoiceResponse
		check(p.T, builder.CallContext(p.Context(), &response, fmt.Sprintf("engine_forkchoiceUpdatedWithWitnessV%d", fork.forkchoice), args...))
		if response.PayloadID == nil {
			p.Fatalf("%s: nothing is built: %+v", fork.name, response.PayloadStatus)
		}
		built := &builtPayload{root: attributes.BeaconRoot}
		sleep(p, tries)
		method := fmt.Sprintf("engine_getPayloadV%d", fork.get)
		if fork.get == 1 { // no envelope
			built.ExecutionPayload = new(engine.ExecutableData)
			check(p.T, builder.CallContext(p.Context(), built.ExecutionPayload, method, response.PayloadID))
		} else {
			check(p.T, builder.CallContext(p.Context(), &built.ExecutionPayloadEnvelope, method, response.PayloadID))
			if built.Witness == nil {
				p.Fatalf("%s: payload without a witness", fork.name)
			}
		}
		if len(built.ExecutionPayload.Transactions) == 3 {
			return built
		}
		if tries > 12 {
			p.Fatalf("%s: %d transactions", fork.name, len(built.ExecutionPayload.Transactions))
		}
		attributes.Random[1]++ // another payload
	}
}

// sleep gives a builder time, more with each try.
func sleep(p *witnessPair, tries int) {
	select {
	case <-time.After(time.Duration(tries*tries) * 20 * time.Millisecond):
	case <-p.Context().Done():
	}
}

// importBoth imports a payload at both nodes, and compares the witnesses.
func (p *witnessPair) importBoth(fork witnessFork, built *builtPayload) {
	p.Helper()
	data := built.ExecutionPayload
	args := []any{data}
	if fork.root {
		args = append(args, []common.Hash{}, built.root)
	}
	if fork.requests {
		requests := []hexutil.Bytes{}
		for _, request := range built.Requests {
			requests = append(requests, request)
		}
		args = append(args, requests)
	}
	witnesses := make(map[string][]byte)
	if built.Witness != nil {
		witnesses["builder"] = *built.Witness
	}
	for name, client := range map[string]*gethrpc.Client{"sunbeam": p.ours, "geth": p.geth} {
		var status engine.PayloadStatusV1
		check(p.T, client.CallContext(p.Context(), &status, fmt.Sprintf("engine_newPayloadWithWitnessV%d", fork.new), args...))
		if status.Status != engine.VALID || status.LatestValidHash == nil || *status.LatestValidHash != data.BlockHash || status.Witness == nil {
			p.Fatalf("%s, block %d at %s: %+v", fork.name, data.Number, name, status)
		}
		witnesses[name] = *status.Witness
	}
	want := decodeWitness(p.T, witnesses["geth"])
	if len(want.State) < 5 || len(want.Codes) == 0 || len(want.Headers) < 2 && data.Number > 2 {
		p.Errorf("%s: %d nodes, %d codes, %d headers", fork.name, len(want.State), len(want.Codes), len(want.Headers))
	}
	for name, encoded := range witnesses {
		got := decodeWitness(p.T, encoded)
		if !sameBlobs(got.State, want.State) || !sameBlobs(got.Codes, want.Codes) || len(got.Headers) != len(want.Headers) || len(got.Keys) > 0 {
			p.Errorf("%s, block %d: witness of %s has %d nodes, %d codes, %d headers; geth's %d, %d, %d", fork.name, data.Number, name,
				len(got.State), len(got.Codes), len(got.Headers), len(want.State), len(want.Codes), len(want.Headers))
		}
		for i := range got.Headers {
			if i < len(want.Headers) && got.Headers[i].Hash() != want.Headers[i].Hash() {
				p.Errorf("%s: header %d of %s differs", fork.name, i, name)
			}
		}
		for verifier, client := range map[string]*gethrpc.Client{"sunbeam": p.ours, "geth": p.geth} {
			var status engine.StatelessPayloadStatusV1
			check(p.T, client.CallContext(p.Context(), &status, fmt.Sprintf("engine_executeStatelessPayloadV%d", fork.new), append(slices.Clone(args), hexutil.Bytes(encoded))...))
			if status.Status != engine.VALID || status.StateRoot != data.StateRoot || status.ReceiptsRoot != data.ReceiptsRoot {
				p.Errorf("%s: %s on the witness of %s: %+v", fork.name, verifier, name, status)
			}
		}
	}
	for _, client := range []*gethrpc.Client{p.ours, p.geth} {
		var response engine.ForkChoiceResponse
		check(p.T, client.CallContext(p.Context(), &response, fmt.Sprintf("engine_forkchoiceUpdatedWithWitnessV%d", fork.forkchoice), engine.ForkchoiceStateV1{HeadBlockHash: data.BlockHash}, nil))
		if response.PayloadStatus.Status != engine.VALID {
			p.Fatalf("%s: head %+v", fork.name, response.PayloadStatus)
		}
	}
	p.head, p.number = data.BlockHash, data.Number
}

func decodeWitness(t *testing.T, encoded []byte) *stateless.ExtWitness {
	t.Helper()
	witness := new(stateless.ExtWitness)
	check(t, rlp.DecodeBytes(encoded, witness))
	return witness
}

// sameBlobs says whether two lists have the same entries, in any order.
func sameBlobs(a, b []hexutil.Bytes) bool {
	sorted := func(list []hexutil.Bytes) []hexutil.Bytes {
		list = slices.Clone(list)
		slices.SortFunc(list, func(x, y hexutil.Bytes) int { return bytes.Compare(x, y) })
		return list
	}
	return slices.EqualFunc(sorted(a), sorted(b), func(x, y hexutil.Bytes) bool { return bytes.Equal(x, y) })
}
