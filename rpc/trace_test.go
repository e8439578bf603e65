// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/vm"
	"github.com/ethereum/go-ethereum/core/vm/program"
	gethrpc "github.com/ethereum/go-ethereum/rpc"
	"github.com/holiman/uint256"
)

// call returns the decoded result of a call that must succeed.
func call[T any](t *testing.T, client *gethrpc.Client, method string, params ...any) (result T) {
	t.Helper()
	if err := client.Call(&result, method, params...); err != nil {
		t.Fatalf("%s: %v", rpcCall{method, params}, err)
	}
	return result
}

// flatTrace are the members that call traces and go-ethereum's flatCallTracer have in common.
type flatTrace struct {
	Action struct {
		From, To, Address        *common.Address
		CallType, CreationMethod string
		Gas                      hexutil.Uint64
		Input, Init              hexutil.Bytes
		Value, Balance           *hexutil.Big
	}
	BlockHash   *common.Hash
	BlockNumber uint64
	Error       string
	Result      *struct {
		Address      *common.Address
		Code, Output hexutil.Bytes
		GasUsed      hexutil.Uint64
	}
	Subtraces           int
	TraceAddress        []int
	TransactionHash     *common.Hash
	TransactionPosition uint64
	Type                string
}

// callingContracts returns overrides with contracts that call, create and destroy, and a call of the first.
func callingContracts() (override, message object) {
	caller, destroyed, failing, creator := common.Address{0x81}, common.Address{0x82}, common.Address{0x83}, common.Address{0x84}
	code := program.New().Call(nil, counterAddr, 0, 0, 0, 0, 32).Op(vm.POP).Call(nil, destroyed, 3, 0, 4, 0, 0).Op(vm.POP)
	code.Call(uint256.NewInt(5000), failing, 0, 0, 0, 0, 0).Op(vm.POP).Call(nil, reverterAddr, 0, 0, 0, 0, 0).Op(vm.POP)
	code.StaticCall(nil, common.Address{19: 4}, 0, 32, 0, 32).Op(vm.POP).Call(nil, common.Address{19: 2}, 1, 0, 0, 0, 0).Op(vm.POP)
	code.DelegateCall(nil, readerAddr, 0, 0, 0, 32).Op(vm.POP).CallCode(nil, counterAddr, 0, 0, 0, 0, 0).Op(vm.POP)
	code.Call(nil, creator, 0, 0, 0, 0, 0).Op(vm.POP).Sstore(1, 0).Sstore(7, 9).Push(3).Push(1).Op(vm.DUP2, vm.SWAP1, vm.MSTORE8).Return(0, 40)
	created := program.New().Sstore(5, 6).ReturnViaCodeCopy([]byte{1, 2, 3}).Bytes()
	override = object{
		caller.Hex():    object{"code": hexutil.Bytes(code.Bytes()), "balance": "0x100", "state": object{common.Hash{31: 1}.Hex(): common.Hash{31: 8}}},
		destroyed.Hex(): object{"code": hexutil.Bytes(program.New().Push(userAddr.Bytes()).Op(vm.SELFDESTRUCT).Bytes()), "balance": "0x7"},
		failing.Hex():   object{"code": "0xfe"},
		creator.Hex():   object{"code": hexutil.Bytes(program.New().Create2(created, 1).Op(vm.POP).Mstore(created, 0).Push(len(created)).Push(0).Push(0).Op(vm.CREATE).Bytes())},
	}
	return override, object{"from": userAddr, "to": caller, "gas": "0x200000", "value": "0x5"}
}

// TestCallTracesAsFlat compares the call traces of all blocks with those of go-ethereum's flatCallTracer. They differ in
// the gas of the outermost frame only, which has the intrinsic gas of the transaction there.
func TestCallTracesAsFlat(t *testing.T) {
	w := mainChain()
	client := newFakeNode(t).client(t)
	config := object{"tracer": "flatCallTracer", "tracerConfig": object{"convertParityErrors": true}}
	for number, block := range w.blocks {
		traces := call[[]flatTrace](t, client, "trace_block", hexutil.Uint64(number))
		if number == 0 {
			continue
		}
		var want []flatTrace
		for _, tx := range call[[]struct{ Result []flatTrace }](t, client, "debug_traceBlockByNumber", hexutil.Uint64(number), config) {
			want = append(want, tx.Result...)
		}
		compareFlat(t, traces, want)
		for i, tx := range block.Transactions() {
			own := call[[]flatTrace](t, client, "trace_transaction", tx.Hash())
			if len(own) == 0 || own[0].TransactionPosition != uint64(i) || *own[0].TransactionHash != tx.Hash() {
				t.Errorf("transaction %d of block %d: %+v", i, number, own)
			}
			if got := call[flatTrace](t, client, "trace_get", tx.Hash(), []string{}); mustString(got) != mustString(own[0]) {
				t.Errorf("trace_get: %s", mustString(got))
			}
			if got := call[json.RawMessage](t, client, "trace_get", tx.Hash(), []string{"0x63"}); string(got) != "null" {
				t.Errorf("trace_get beyond the last: %s", got)
			}
		}
	}
	if got := call[json.RawMessage](t, client, "trace_transaction", common.Hash{1}); string(got) != "null" {
		t.Errorf("unknown transaction: %s", got)
	}
}

func mustString(v any) string { return string(mustJSON(v)) }

func compareFlat(t *testing.T, got, want []flatTrace) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d traces, want %d:\n%s\n%s", len(got), len(want), mustString(got), mustString(want))
	}
	for i := range got {
		g, w := got[i], want[i]
		if len(g.TraceAddress) == 0 {
			if g.Action.Gas >= w.Action.Gas {
				t.Errorf("gas of the frame is not below that of the transaction: %s", mustString(g))
			}
			g.Action.Gas = w.Action.Gas
			if g.Result != nil {
				g.Result.GasUsed = w.Result.GasUsed
			}
		}
		if mustString(g) != mustString(w) {
			t.Errorf("trace %d\n got %s\nwant %s", i, mustString(g), mustString(w))
		}
	}
}

// vmOps are the instructions of a vmTrace in the order in which they ran, with the depth of each.
func vmOps(trace *vmTraceJSON, depth int, visit func(op *vmOpJSON, depth int)) {
	for _, op := range trace.Ops {
		visit(op, depth)
		if op.Sub != nil {
			vmOps(op.Sub, depth+1, visit)
		}
	}
}

type vmTraceJSON struct {
	Code hexutil.Bytes
	Ops  []*vmOpJSON
}

type vmOpJSON struct {
	Cost, PC uint64
	Op       string
	Sub      *vmTraceJSON
	Ex       *struct {
		Used  uint64
		Push  []string
		Store *struct{ Key, Val string }
		Mem   *struct {
			Data hexutil.Bytes
			Off  int
		}
	}
}

// TestVMTrace compares a vmTrace with go-ethereum's struct logs of the same call: instructions, gas, and what each of them
// pushed and wrote to memory.
func TestVMTrace(t *testing.T) {
	client := newFakeNode(t).client(t)
	override, message := callingContracts()
	type structLog struct {
		PC, Gas, GasCost uint64
		Op               string
		Depth            int
		Stack, Memory    []string
	}
	logs := call[struct{ StructLogs []structLog }](t, client, "debug_traceCall", message, "latest", object{"stateOverrides": override, "enableMemory": true}).StructLogs
	result := tracedCall(t, override, message, "vmTrace")
	var trace vmTraceJSON
	if err := json.Unmarshal(mustJSON(result.VMTrace), &trace); err != nil {
		t.Fatal(err)
	}
	i, failed := 0, 0
	vmOps(&trace, 1, func(op *vmOpJSON, depth int) {
		log := logs[i]
		i++
		if op.PC != log.PC || op.Cost != log.GasCost || op.Op != log.Op || depth != log.Depth {
			t.Fatalf("instruction %d is %+v at depth %d, want %+v", i, op, depth, log)
		}
		if op.Ex == nil {
			failed++
			return
		}
		next := slices.IndexFunc(logs[i:], func(l structLog) bool { return l.Depth <= depth })
		if next < 0 || logs[i+next].Depth != depth {
			return
		}
		after := logs[i+next]
		if op.Ex.Used != after.Gas || !slices.Equal(op.Ex.Push, after.Stack[len(after.Stack)-len(op.Ex.Push):]) {
			t.Errorf("%s at %d: %+v, want gas %d, stack %v", op.Op, op.PC, op.Ex, after.Gas, after.Stack)
		}
		if m := op.Ex.Mem; m != nil {
			memory := common.FromHex(strings.Join(strip0x(after.Memory), ""))
			if string(memory[m.Off:m.Off+len(m.Data)]) != string(m.Data) {
				t.Errorf("%s at %d: memory %x at %d", op.Op, op.PC, m.Data, m.Off)
			}
		}
	})
	if i != len(logs) || failed != 1 {
		t.Errorf("%d instructions, %d failed, want %d, 1", i, failed, len(logs))
	}
}

func strip0x(words []string) (stripped []string) {
	for _, word := range words {
		stripped = append(stripped, strings.TrimPrefix(word, "0x"))
	}
	return stripped
}

// tracedCall traces a message with overrides, which trace_call does not have.
func tracedCall(t *testing.T, override, message object, kinds ...string) *replayResult {
	t.Helper()
	n := newFakeNode(t)
	var (
		args      callObject
		overrides stateOverride
		wanted    traceKinds
	)
	for from, to := range map[*object]any{&override: &overrides, &message: &args} {
		if err := json.Unmarshal(mustJSON(*from), to); err != nil {
			t.Fatal(err)
		}
	}
	if err := json.Unmarshal(mustJSON(kinds), &wanted); err != nil {
		t.Fatal(err)
	}
	result, err := readState(t.Context(), n.b, nil, func(ctx context.Context, v *stateView) (*replayResult, error) {
		traced, err := n.b.tracedCall(v, v.header, args, &traceCallConfig{StateOverrides: &overrides})
		if err != nil {
			return nil, err
		}
		return newTraceRun(n.b, v, nil).record(ctx, traced, wanted)
	})
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// TestStateDiff compares a stateDiff with the one of go-ethereum's prestateTracer, of all transactions of the chain and of
// a call that creates and changes contracts.
func TestStateDiff(t *testing.T) {
	client := newFakeNode(t).client(t)
	config := object{"tracer": "prestateTracer", "tracerConfig": object{"diffMode": true}}
	compare := func(diff map[common.Address]*accountDiff, want prestateDiff) {
		t.Helper()
		if got := slices.SortedFunc(maps.Keys(diff), common.Address.Cmp); !slices.Equal(got, slices.SortedFunc(maps.Keys(want.all()), common.Address.Cmp)) {
			t.Fatalf("accounts %v, want %v", got, mustString(want))
		}
		for addr, account := range diff {
			want.compare(t, addr, account)
		}
	}
	n := newFakeNode(t)
	for _, block := range mainChain().blocks {
		for _, tx := range block.Transactions() {
			result, err := (&traceAPI{n.b}).ReplayTransaction(t.Context(), tx.Hash(), traceKinds{diff: true})
			if err != nil {
				t.Fatal(err)
			}
			compare(result.StateDiff, call[prestateDiff](t, client, "debug_traceTransaction", tx.Hash(), config))
		}
	}
	override, message := callingContracts()
	config["stateOverrides"] = override
	compare(tracedCall(t, override, message, "stateDiff").StateDiff, call[prestateDiff](t, client, "debug_traceCall", message, "latest", config))
}

type prestateAccount struct {
	Balance *hexutil.Big
	Nonce   uint64
	Code    *hexutil.Bytes
	Storage map[common.Hash]common.Hash
}

type prestateDiff struct {
	Pre, Post map[common.Address]*prestateAccount
}

func (d prestateDiff) all() map[common.Address]*prestateAccount {
	all := maps.Clone(d.Pre)
	for addr, account := range d.Post {
		if d.Pre[addr] != nil || account.Balance != nil || account.Nonce > 0 || account.Code != nil || len(account.Storage) > 0 {
			all[addr] = account // else go-ethereum compares the code hashes of an absent and an empty account
		}
	}
	return all
}

// compare compares an account. go-ethereum leaves out what did not change after, and zero values before.
func (d prestateDiff) compare(t *testing.T, addr common.Address, diff *accountDiff) {
	t.Helper()
	pre, post := d.Pre[addr], d.Post[addr]
	created := pre == nil
	if created != (diff.Nonce.from == nil && diff.Nonce.to != nil) {
		t.Errorf("%v: created %v, but the diff is %s", addr, created, mustString(diff))
	}
	if created {
		pre = new(prestateAccount)
	}
	if post == nil {
		t.Fatalf("%v is deleted: %s", addr, mustString(diff))
	}
	if (post.Balance != nil) != (diff.Balance.to != nil) && !created {
		t.Errorf("%v: balance %s, want %v", addr, mustString(diff.Balance), post.Balance)
	}
	if b, ok := diff.Balance.to.(*hexutil.Big); ok && post.Balance != nil && b.ToInt().Cmp(post.Balance.ToInt()) != 0 {
		t.Errorf("%v: balance %s, want %v", addr, mustString(diff.Balance), post.Balance)
	}
	if n, ok := diff.Nonce.to.(hexutil.Uint64); ok && uint64(n) != post.Nonce {
		t.Errorf("%v: nonce %s, want %v", addr, mustString(diff.Nonce), post.Nonce)
	}
	if c, ok := diff.Code.to.(hexutil.Bytes); ok && post.Code != nil && string(c) != string(*post.Code) {
		t.Errorf("%v: code %s, want %v", addr, mustString(diff.Code), post.Code)
	}
	slots := maps.Clone(pre.Storage)
	if slots == nil {
		slots = make(map[common.Hash]common.Hash)
	}
	maps.Copy(slots, post.Storage)
	if len(slots) != len(diff.Storage) {
		t.Errorf("%v: %d slots, want %d", addr, len(diff.Storage), len(slots))
	}
	for slot := range slots {
		if got := diff.Storage[slot]; got.to != post.Storage[slot] || !created && got.from != pre.Storage[slot] {
			t.Errorf("%v: slot %x %s, want %v to %v", addr, slot, mustString(got), pre.Storage[slot], post.Storage[slot])
		}
	}
}

// TestCallTraceOfAllKinds compares a call that makes each kind of frame with flatCallTracer.
func TestCallTraceOfAllKinds(t *testing.T) {
	client := newFakeNode(t).client(t)
	override, message := callingContracts()
	config := object{"tracer": "flatCallTracer", "tracerConfig": object{"convertParityErrors": true}, "stateOverrides": override}
	var got []flatTrace
	if err := json.Unmarshal(mustJSON(tracedCall(t, override, message, "trace").Trace), &got); err != nil {
		t.Fatal(err)
	}
	want := call[[]flatTrace](t, client, "debug_traceCall", message, "latest", config)
	kinds := make(map[string]bool)
	for i := range got {
		kinds[got[i].Type+got[i].Action.CallType+got[i].Action.CreationMethod+got[i].Error] = true
	}
	for _, kind := range []string{"callcall", "calldelegatecall", "callcallcode", "callcallReverted", "callcallBad instruction", "createcreate", "createcreate2", "suicide"} {
		if !kinds[kind] {
			t.Errorf("no frame of kind %s in %v", kind, slices.Collect(maps.Keys(kinds)))
		}
	}
	// flatCallTracer leaves out calls of precompiles also when they transfer ether.
	paid := slices.IndexFunc(got, func(f flatTrace) bool { return f.Type == "call" && *f.Action.To == common.Address{19: 2} })
	if paid < 0 {
		t.Fatal("the call that pays a precompile is left out")
	}
	if last := got[len(got)-1].TraceAddress; len(last) == 0 {
		t.Errorf("last trace has address %v", last)
	}
	if len(got) != len(want)+1 {
		t.Errorf("%d frames, want one more than %d", len(got), len(want))
	}
}
