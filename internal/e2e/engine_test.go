// SPDX-License-Identifier: LGPL-3.0-or-later

package e2e_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/beacon/engine"
	"github.com/ethereum/go-ethereum/common"
	gethnode "github.com/ethereum/go-ethereum/node"
	gethrpc "github.com/ethereum/go-ethereum/rpc"

	"github.com/sunbeam-eth/sunbeam/internal/demo"
	"github.com/sunbeam-eth/sunbeam/internal/gethpeer"
)

// engineTimeout is that of consensus clients.
const engineTimeout = 8 * time.Second

// Errors of the Engine API.
const (
	unknownPayload    = -38001
	invalidForkchoice = -38002 // a safe or finalized block that is no known ancestor of the head
)

// answer is a result of the Engine API or an error.
type answer struct {
	code   int
	text   string // of the error
	result json.RawMessage
}

func (a answer) String() string {
	if a.code != 0 {
		return fmt.Sprintf("error %d: %s", a.code, a.text)
	}
	return fmt.Sprintf("%.600s", a.result)
}

// engineClient calls the Engine API of a node with any parameters.
type engineClient struct {
	name string
	rpc  *gethrpc.Client
}

func dialEngine(t *testing.T, name, url string, secret [32]byte) *engineClient {
	t.Helper()
	client, err := gethrpc.DialOptions(t.Context(), url, gethrpc.WithHTTPAuth(gethnode.NewJWTAuth(secret)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return &engineClient{name, client}
}

// ask makes a call. No answer within the time that consensus clients wait fails the test.
func (c *engineClient) ask(t *testing.T, call engineCall) (a answer) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), engineTimeout)
	defer cancel()
	err := c.rpc.CallContext(ctx, &a.result, call.method, call.params...)
	var coded gethrpc.Error
	switch {
	case errors.As(err, &coded):
		a.code, a.text = coded.ErrorCode(), err.Error()
	case err != nil:
		t.Fatalf("%s: %s (%s): %v", c.name, call.method, call.what, err)
	}
	return a
}

// status is the payload status of an answer, empty if it has none.
func (a answer) status() (s engine.PayloadStatusV1, id *engine.PayloadID) {
	var response engine.ForkChoiceResponse
	if a.code == 0 && json.Unmarshal(a.result, &response) == nil && response.PayloadStatus.Status != "" {
		return response.PayloadStatus, response.PayloadID
	}
	if a.code == 0 {
		_ = json.Unmarshal(a.result, &s) // of another method: no status
	}
	return s, nil
}

// decided says whether a status is final.
func decided(status string) bool { return status == engine.VALID || status == engine.INVALID }

// engineDiff gives the same calls to geth and a node.
type engineDiff struct {
	*testing.T
	calls      *engineCalls
	geth, node *engineClient
	apart      bool                              // the node has built on a block that only it had executed: they keep other payloads
	choice     engineCall                        // the last fork choice, without attributes
	verdicts   map[common.Hash]map[string]string // of blocks, by both
	waits      time.Duration                     // for what the node is SYNCING and geth is not
	seen       map[string]int                    // kinds of answers, for the log
}

// step makes one call.
func (d *engineDiff) step(n int) {
	d.Helper()
	call := d.calls.call()
	want, got := d.geth.ask(d.T, call), d.node.ask(d.T, call)
	status, _ := want.status()
	for until := time.Now().Add(d.waits); ; {
		ours, _ := got.status()
		if !decided(status.Status) || decided(ours.Status) || time.Now().After(until) {
			break
		}
		time.Sleep(20 * time.Millisecond)
		got = d.node.ask(d.T, call)
	}
	d.seen[fmt.Sprintf("%s %d%s", strings.TrimRight(call.method, "V123456"), want.code, status.Status)]++
	if problem := d.compare(call, want, got); problem != "" {
		params, _ := json.Marshal(call.params)
		d.Errorf("call %d: %s: %s: %s\n geth %s\n  got %s\n%.3000s", n, call.method, call.what, problem, want, got, params)
	}
	d.learn(call, want)
	d.sameHead(n, call, want)
}

// sameHead compares the heads of both, after each call. The last fork choice is made again, without attributes, where they may differ: we
// apply it before we look at the attributes, as the specification demands, and if its head is unknown, as soon as that is executed. Geth
// does neither.
func (d *engineDiff) sameHead(n int, call engineCall, want answer) {
	d.Helper()
	if strings.HasPrefix(call.method, "engine_forkchoiceUpdated") && call.about != (common.Hash{}) {
		d.choice = engineCall{method: "engine_forkchoiceUpdatedV3", params: []any{call.params[0], nil}, what: call.what, about: call.about}
		if want.code != 0 {
			d.again(n)
		}
	}
	theirs, ours := d.geth.head(d.T), d.node.head(d.T)
	if theirs != ours && ours == d.choice.about && d.again(n) == engine.SYNCING {
		d.choice.params, d.choice.about = []any{forkchoiceOf(theirs), nil}, theirs // we executed it when its parent came, geth did not
		d.again(n)
	}
	theirs, ours = d.geth.head(d.T), d.node.head(d.T)
	if theirs != ours {
		d.Errorf("after call %d: %s: %s: geth's head is %x, ours %x", n, call.method, call.what, theirs, ours)
	}
}

func forkchoiceOf(head common.Hash) fields {
	return fields{"headBlockHash": head, "safeBlockHash": common.Hash{}, "finalizedBlockHash": common.Hash{}}
}

// again makes the last fork choice again, and returns what geth says of its head.
func (d *engineDiff) again(n int) string {
	d.Helper()
	want, got := d.geth.ask(d.T, d.choice), d.node.ask(d.T, d.choice)
	if problem := d.compare(d.choice, want, got); problem != "" {
		d.Errorf("call %d again without attributes: %s: %s\n geth %s\n  got %s", n, d.choice.what, problem, want, got)
	}
	status, _ := want.status()
	return status.Status
}

// head is the hash of a node's newest block.
func (c *engineClient) head(t *testing.T) common.Hash {
	t.Helper()
	var block struct{ Hash common.Hash }
	a := c.ask(t, engineCall{method: "eth_getBlockByNumber", params: []any{"latest", false}})
	if err := json.Unmarshal(a.result, &block); err != nil {
		t.Fatalf("%s: %v: %v", c.name, a, err)
	}
	return block.Hash
}

// compare returns how the answers differ in what may not.
func (d *engineDiff) compare(call engineCall, want, got answer) string {
	if attributesFirst(call, want, got) {
		return ""
	}
	if status, _ := want.status(); status.Status == engine.SYNCING && got.code == invalidForkchoice {
		return "" // we know the head
	}
	if d.apart && (want.code == unknownPayload || got.code == unknownPayload) {
		return ""
	}
	if want.code != got.code {
		return "another error code"
	}
	if want.code != 0 {
		return ""
	}
	switch {
	case strings.HasPrefix(call.method, "engine_newPayload"), strings.HasPrefix(call.method, "engine_forkchoiceUpdated"):
		return d.compareStatus(call, want, got)
	case strings.HasPrefix(call.method, "engine_getPayloadV"):
		return comparePayloads(want, got)
	}
	var a, b any
	if json.Unmarshal(want.result, &a) != nil || json.Unmarshal(got.result, &b) != nil {
		return "no JSON"
	}
	theirs, _ := a.([]any)
	ours, _ := b.([]any)
	for i := range min(len(theirs), len(ours)) {
		executed := theirs[i] == nil && strings.HasPrefix(call.method, "engine_getPayloadBodiesByHash") // by us, when its parent came
		if !executed && !reflect.DeepEqual(theirs[i], ours[i]) {
			return fmt.Sprintf("another item %d: %.2000v and %.2000v", i, theirs[i], ours[i])
		}
	}
	if len(theirs) != len(ours) || theirs == nil && !reflect.DeepEqual(a, b) {
		return "another result"
	}
	return ""
}

// attributesFirst says whether a fork choice is wrong by its blocks and by its attributes. Geth looks at these first, and we, as the
// specification demands, at the blocks: [engineDiff.again] compares what both say of them.
func attributesFirst(call engineCall, want, got answer) bool {
	if !strings.HasPrefix(call.method, "engine_forkchoiceUpdated") || len(call.params) < 2 || call.params[1] == nil {
		return false
	}
	if attributes, ok := call.params[1].(fields); ok && reflect.DeepEqual(attributes["withdrawals"], []any{nil}) {
		return true // geth does not look for null, and crashes
	}
	status, _ := got.status()
	return want.code != 0 && (got.code == invalidForkchoice || status.Status == engine.INVALID)
}

func (d *engineDiff) compareStatus(call engineCall, want, got answer) string {
	theirs, id := want.status()
	ours, ourID := got.status()
	d.apart = d.apart || id == nil && ourID != nil && !decided(theirs.Status)
	if problem := d.contradiction(call.about, theirs.Status, ours.Status); problem != "" {
		return problem
	}
	switch {
	case !decided(theirs.Status): // it has no peers, and does not remember as much
		return ""
	case !decided(ours.Status):
		return "not decided"
	case theirs.Status != ours.Status:
		return "another status"
	case !reflect.DeepEqual(theirs.LatestValidHash, ours.LatestValidHash):
		return "another latest valid hash"
	case (theirs.ValidationError == nil) != (ours.ValidationError == nil):
		return "only one has a validation error"
	case !reflect.DeepEqual(id, ourID):
		return "another payload ID"
	}
	return ""
}

// contradiction notes what a block is called, and finds who called it otherwise, now or before.
func (d *engineDiff) contradiction(block common.Hash, theirs, ours string) string {
	if block == (common.Hash{}) {
		return ""
	}
	known := d.verdicts[block]
	if known == nil {
		known = make(map[string]string)
		d.verdicts[block] = known
	}
	for name, status := range map[string]string{d.geth.name: theirs, d.node.name: ours} {
		if !decided(status) {
			continue
		}
		for other, before := range known {
			if before != status {
				return fmt.Sprintf("%s calls %x %s, %s called it %s", name, block, status, other, before)
			}
		}
		known[name] = status
	}
	return ""
}

// comparePayloads compares what does not depend on who builds.
func comparePayloads(want, got answer) string {
	a, b := builtFields(want), builtFields(got)
	for _, name := range []string{"parentHash", "blockNumber", "timestamp", "feeRecipient", "prevRandao", "gasLimit", "baseFeePerGas", "withdrawals", "excessBlobGas", "slotNumber", "envelope"} {
		if !reflect.DeepEqual(a[name], b[name]) {
			return fmt.Sprintf("another %s: %v and %v", name, a[name], b[name])
		}
	}
	return ""
}

// builtFields are the members of a built payload, and the names of the members of its envelope.
func builtFields(a answer) fields {
	var all fields
	if json.Unmarshal(a.result, &all) != nil {
		return nil
	}
	payload, ok := all["executionPayload"].(fields)
	if !ok {
		return all
	}
	names := make(map[string]bool)
	for name := range all {
		names[name] = all[name] != nil
	}
	payload["envelope"] = names
	return payload
}

// learn notes what geth said, for later calls.
func (d *engineDiff) learn(call engineCall, want answer) {
	c := d.calls
	status, id := want.status()
	if id != nil {
		c.ids = append(c.ids, *id)
		c.idForks[*id] = d.payloadVersion(call)
	}
	if !strings.HasPrefix(call.method, "engine_newPayload") || status.Status != engine.VALID {
		return
	}
	for i, p := range c.bad {
		if p.data.BlockHash == call.about { // the change was a valid one
			c.bad = append(c.bad[:i:i], c.bad[i+1:]...)
			c.good = append(c.good, p)
			return
		}
	}
	for _, branch := range c.branches {
		for _, p := range branch {
			if p.data.BlockHash == call.about {
				c.good = append(c.good, p)
				c.next = min(max(c.next, int(p.data.Number)), len(c.branches[0])-1)
				return
			}
		}
	}
}

// payloadVersion is that of getPayload for the attributes of a call.
func (d *engineDiff) payloadVersion(call engineCall) int {
	var attributes engine.PayloadAttributes
	text, err := json.Marshal(call.params[1])
	if err == nil {
		err = json.Unmarshal(text, &attributes)
	}
	if err != nil {
		d.Fatal(err)
	}
	switch slot := (attributes.Timestamp - forksGenesis) / forksSlot; {
	case slot >= amsterdamBlock:
		return 6
	case slot >= osakaBlock:
		return 5
	default:
		return newPayloadVersion(slot)
	}
}

// settle wants every good block to be VALID in the end, and the head of each branch to become the head.
func (d *engineDiff) settle() {
	d.Helper()
	for _, branch := range d.calls.branches {
		for _, p := range branch {
			d.wantValid(d.calls.newPayload("in the end", p), p.data.BlockHash)
		}
		last := branch[len(branch)-1]
		state := forkchoiceOf(last.data.BlockHash)
		d.wantValid(engineCall{method: "engine_forkchoiceUpdatedV3", params: []any{state, nil}, what: "in the end", about: last.data.BlockHash}, last.data.BlockHash)
	}
}

// begin brings both to the first block, from where on the node is a full one.
func (d *engineDiff) begin(n *demo.Node) {
	d.Helper()
	first := d.calls.branches[0][0]
	d.wantValid(d.calls.newPayload("the first block", first), first.data.BlockHash)
	state := forkchoiceOf(first.data.BlockHash)
	d.wantValid(engineCall{method: "engine_forkchoiceUpdatedV1", params: []any{state, nil}, what: "the first block"}, first.data.BlockHash)
	await(d.T, n, soon, "full node", func(s status) bool { return s.Full() })
}

func (d *engineDiff) wantValid(call engineCall, hash common.Hash) {
	d.Helper()
	for _, client := range []*engineClient{d.geth, d.node} {
		got := client.ask(d.T, call)
		for until := time.Now().Add(d.waits); got.code == 0 && time.Now().Before(until); got = client.ask(d.T, call) {
			if status, _ := got.status(); decided(status.Status) {
				break
			}
			time.Sleep(20 * time.Millisecond)
		}
		if status, _ := got.status(); status.Status != engine.VALID || *status.LatestValidHash != hash {
			d.Errorf("%s: %s: %s: %s", client.name, call.method, call.what, got)
		}
	}
}

// startInitialized runs a node without peers that has the state of a genesis.
func startInitialized(t *testing.T, genesis string, jwt string, secret [32]byte) *demo.Node {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "sunbeam")
	if out, err := exec.CommandContext(t.Context(), binary, "--datadir", dir, "init", genesis).CombinedOutput(); err != nil {
		t.Fatalf("init: %v\n%s", err, out)
	}
	return startNode(t, demo.NodeConfig{Dir: dir, Genesis: genesis, JWTFile: jwt, Secret: secret, Args: []string{"--nodiscover"}})
}

// The same calls of the Engine API get the same answers from a node as from geth, whatever they are and in whatever order,
// and the good blocks become VALID after them.
func TestEngineLikeGeth(t *testing.T) {
	genesis := forksGenesisBlock()
	jwt, secret := secretFile(t)
	path := writeGenesis(t, genesis)
	branches := [][]*enginePayload{makeChain(t, genesis, 0, 0), makeChain(t, genesis, 5, 1), makeChain(t, genesis, 18, 2)}
	for seed := range size[uint64](1, 20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			geth, node := startGeth(t, gethpeer.Config{Genesis: genesis, JWTSecret: secret, CacheMB: 64}), startInitialized(t, path, jwt, secret)
			d := &engineDiff{
				T: t, geth: dialEngine(t, "geth", geth.Auth(), secret), node: dialEngine(t, "sunbeam", node.Auth, secret),
				verdicts: make(map[common.Hash]map[string]string), seen: make(map[string]int),
				calls: &engineCalls{random: rand.New(rand.NewPCG(seed, 1)), genesis: genesis.ToBlock().Hash(), branches: branches, idForks: make(map[engine.PayloadID]int)},
			}
			d.begin(node)
			for n := range size(300, 1500) {
				d.step(n)
			}
			d.settle()
			t.Logf("%v", d.seen)
			stop(t, node)
		})
	}
}
