package node

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	bparams "github.com/ethereum/go-ethereum/beacon/params"
	btypes "github.com/ethereum/go-ethereum/beacon/types"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/holiman/uint256"
	bls "github.com/protolambda/bls12-381-util"
	"github.com/protolambda/zrnt/eth2/beacon/altair"
	zrnt "github.com/protolambda/zrnt/eth2/beacon/common"
	"github.com/protolambda/zrnt/eth2/beacon/deneb"
	"github.com/protolambda/zrnt/eth2/beacon/electra"
	"github.com/protolambda/zrnt/eth2/configs"
	"github.com/protolambda/ztyp/tree"
	"github.com/protolambda/ztyp/view"
)

// The version whose light client objects this file makes; Fulu's are the same.
const beaconFork = "electra"

// beaconAPI is a beacon node as far as a light client sees it. Committees, signatures,
// proofs and blocks are real: whoever follows it must verify all of them. Only the state
// behind a state root is no more than the leaves that a light client asks for.
type beaconAPI struct {
	url        string
	config     bparams.ChainConfig // of the chain, with the checkpoint to start from
	checkpoint btypes.Header
	committees [2]*committee // of periods 0 and 1
	headSlot   uint64

	mu       sync.Mutex
	blocks   map[common.Hash]*electra.BeaconBlock
	payloads map[common.Hash]payloadProof // by beacon block
	chain    []common.Hash                // beacon blocks in order
	last     common.Hash                  // the last of them, zero if none
	final    common.Hash                  // finalized beacon block
	streams  map[chan string]bool
	requests []string
}

type payloadProof struct {
	header *deneb.ExecutionPayloadHeader
	branch []common.Hash
}

// committee signs with four keys, each of which has 128 seats.
type committee struct {
	keys       []*bls.SecretKey
	serialized btypes.SerializedSyncCommittee
}

func newCommittee(t *testing.T, seed byte) *committee {
	c := new(committee)
	var public []*bls.Pubkey
	for i := range 4 {
		key := new(bls.SecretKey)
		raw := sha256.Sum256([]byte{seed, byte(i)})
		raw[0] = 0 // below the group's order
		check(t, key.Deserialize(&raw))
		pub, err := bls.SkToPk(key)
		check(t, err)
		c.keys, public = append(c.keys, key), append(public, pub)
	}
	seats := make([]*bls.Pubkey, bparams.SyncCommitteeSize)
	for i := range seats {
		seats[i] = public[i%len(public)]
		raw := seats[i].Serialize()
		copy(c.serialized[i*bparams.BLSPubkeySize:], raw[:])
	}
	sum, err := bls.AggregatePubkeys(seats)
	check(t, err)
	raw := sum.Serialize()
	copy(c.serialized[bparams.SyncCommitteeSize*bparams.BLSPubkeySize:], raw[:])
	return c
}

// sign is all seats' signature.
func (c *committee) sign(t *testing.T, root common.Hash) map[string]any {
	signatures := make([]*bls.Signature, 0, bparams.SyncCommitteeSize)
	for i := range bparams.SyncCommitteeSize {
		if i < len(c.keys) {
			signatures = append(signatures, bls.Sign(c.keys[i], root[:]))
		} else {
			signatures = append(signatures, signatures[i%len(c.keys)])
		}
	}
	sum, err := bls.Aggregate(signatures)
	check(t, err)
	raw := sum.Serialize()
	return map[string]any{
		"sync_committee_bits":      "0x" + strings.Repeat("ff", bparams.SyncCommitteeBitmaskSize),
		"sync_committee_signature": "0x" + hex.EncodeToString(raw[:]),
	}
}

// leaves is an SSZ tree of which only some nodes are known, by generalized index.
type leaves map[uint64]common.Hash

func (l leaves) node(index uint64) common.Hash {
	if value, ok := l[index]; ok {
		return value
	}
	for i := range l {
		for i > index {
			i >>= 1
		}
		if i == index {
			left, right := l.node(2*index), l.node(2*index+1)
			return sha256.Sum256(append(left[:], right[:]...))
		}
	}
	return sha256.Sum256([]byte{byte(index)})
}

// branch proves a leaf against node(1).
func (l leaves) branch(index uint64) (siblings []common.Hash) {
	for ; index > 1; index >>= 1 {
		siblings = append(siblings, l.node(index^1))
	}
	return siblings
}

// newBeaconAPI makes a chain whose checkpoint is in the sync period before that of the
// head, so that a client has to follow a committee change.
func newBeaconAPI(t *testing.T) *beaconAPI {
	api := &beaconAPI{
		committees: [2]*committee{newCommittee(t, 1), newCommittee(t, 2)},
		headSlot:   bparams.SyncPeriodLength + 64,
		blocks:     make(map[common.Hash]*electra.BeaconBlock),
		payloads:   make(map[common.Hash]payloadProof),
		streams:    make(map[chan string]bool),
	}
	api.config = bparams.ChainConfig{
		GenesisTime:           uint64(time.Now().Unix()) - 12*(api.headSlot+16),
		GenesisValidatorsRoot: common.Hash{0x42},
	}
	api.config.AddFork("GENESIS", 0, []byte{0, 0, 0, 1}).AddFork("ELECTRA", 0, []byte{5, 0, 0, 1})

	state := leaves{
		bparams.StateIndexSyncCommittee(beaconFork):     api.committees[0].serialized.Root(),
		bparams.StateIndexNextSyncCommittee(beaconFork): api.committees[1].serialized.Root(),
	}
	api.checkpoint = btypes.Header{Slot: 320, ProposerIndex: 1, StateRoot: state.node(1)}
	api.config.Checkpoint = api.checkpoint.Hash()

	mux := http.NewServeMux()
	serve := func(path string, answer func(*http.Request) any) {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
			api.mu.Lock()
			defer api.mu.Unlock()
			api.requests = append(api.requests, r.URL.Path)
			value := answer(r)
			if value == nil {
				http.NotFound(w, r)
				return
			}
			if err := json.NewEncoder(w).Encode(value); err != nil {
				t.Error(err)
			}
		})
	}
	serve("/eth/v1/beacon/light_client/bootstrap/{root}", func(r *http.Request) any {
		if r.PathValue("root") != api.config.Checkpoint.Hex() {
			return nil
		}
		return map[string]any{"version": beaconFork, "data": map[string]any{
			"header":                        map[string]any{"beacon": headerJSON(api.checkpoint)},
			"current_sync_committee":        &api.committees[0].serialized,
			"current_sync_committee_branch": state.branch(bparams.StateIndexSyncCommittee(beaconFork)),
		}}
	})
	serve("/eth/v1/beacon/light_client/updates", func(r *http.Request) any {
		if r.FormValue("start_period") != "0" {
			return nil
		}
		return []any{map[string]any{"version": beaconFork, "data": map[string]any{
			"attested_header":            map[string]any{"beacon": headerJSON(api.checkpoint)},
			"next_sync_committee":        &api.committees[1].serialized,
			"next_sync_committee_branch": state.branch(bparams.StateIndexNextSyncCommittee(beaconFork)),
			"sync_aggregate":             api.committees[0].sign(t, api.signingRoot(t, api.checkpoint)),
			"signature_slot":             fmt.Sprint(api.checkpoint.Slot + 1),
		}}}
	})
	serve("/eth/v1/beacon/light_client/optimistic_update", func(*http.Request) any { return api.optimistic(t) })
	serve("/eth/v1/beacon/light_client/finality_update", func(*http.Request) any { return api.finality(t) })
	serve("/eth/v1/beacon/headers/{id}", func(r *http.Request) any {
		if r.PathValue("id") != "head" {
			return nil
		}
		header := api.header(api.last)
		return map[string]any{"finalized": false, "data": map[string]any{
			"root": header.Hash(), "canonical": true,
			"header": map[string]any{"message": headerJSON(header), "signature": "0x"},
		}}
	})
	serve("/eth/v2/beacon/blocks/{root}", func(r *http.Request) any {
		block := api.blocks[common.HexToHash(r.PathValue("root"))]
		if block == nil {
			return nil
		}
		return map[string]any{"version": beaconFork, "data": map[string]any{"message": block}}
	})
	mux.HandleFunc("GET /eth/v1/events", api.stream)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	t.Cleanup(server.CloseClientConnections) // event streams last until then
	api.url = server.URL
	return api
}

func (api *beaconAPI) signingRoot(t *testing.T, header btypes.Header) common.Hash {
	root, err := api.config.Forks.SigningRoot(header.Epoch(), header.Hash())
	check(t, err)
	return root
}

// roots are the beacon blocks that the execution blocks stand on: EIP-4788's roots.
func (api *beaconAPI) roots() []common.Hash {
	api.mu.Lock()
	defer api.mu.Unlock()
	return append([]common.Hash{{}}, api.chain...)
}

// extend puts an execution block into a beacon block at the head and tells the followers.
func (api *beaconAPI) extend(t *testing.T, block *types.Block) {
	api.mu.Lock()
	defer api.mu.Unlock()
	if *block.BeaconRoot() != api.last {
		t.Fatalf("block %d stands on beacon block %s, the head is %s", block.NumberU64(), block.BeaconRoot(), api.last)
	}
	api.headSlot++
	body := electra.BeaconBlockBody{
		SyncAggregate:    altair.SyncAggregate{SyncCommitteeBits: make([]byte, bparams.SyncCommitteeBitmaskSize)},
		ExecutionPayload: *payloadOf(t, block),
	}
	finalized := api.final
	state := leaves{bparams.StateIndexFinalBlock(beaconFork): finalized}
	beacon := &electra.BeaconBlock{
		Slot: zrnt.Slot(api.headSlot), ParentRoot: zrnt.Root(api.last), StateRoot: zrnt.Root(state.node(1)), Body: body,
	}
	root := common.Hash(beacon.HashTreeRoot(configs.Mainnet, tree.GetHashFn()))
	api.blocks[root] = beacon
	api.payloads[root] = provePayload(t, &beacon.Body)
	api.last, api.chain = root, append(api.chain, root)
	if api.final == (common.Hash{}) {
		api.final = root
	}
	// A client takes five events at once and one per second after that: so no "head" events,
	// which announce nothing that is signed, and finality once, as it is once an epoch.
	updates := map[string]any{"light_client_optimistic_update": api.optimistic(t)}
	if len(api.chain) == 2 {
		updates["light_client_finality_update"] = api.finality(t)
	}
	events := ""
	for name, update := range updates {
		data, err := json.Marshal(update)
		check(t, err)
		events += fmt.Sprintf("event: %s\ndata: %s\n\n", name, data)
	}
	for stream := range api.streams {
		stream <- events
	}
}

func (api *beaconAPI) stream(w http.ResponseWriter, r *http.Request) {
	stream := make(chan string, 16)
	api.mu.Lock()
	api.streams[stream] = true
	api.mu.Unlock()
	w.Header().Set("Content-Type", "text/event-stream")
	w.(http.Flusher).Flush()
	for {
		select {
		case events := <-stream:
			if _, err := w.Write([]byte(events)); err != nil {
				return
			}
			w.(http.Flusher).Flush()
		case <-r.Context().Done():
			return
		}
	}
}

func (api *beaconAPI) header(root common.Hash) btypes.Header {
	h := api.blocks[root].Header(configs.Mainnet)
	return btypes.Header{
		Slot: uint64(h.Slot), ProposerIndex: uint64(h.ProposerIndex), ParentRoot: common.Hash(h.ParentRoot),
		StateRoot: common.Hash(h.StateRoot), BodyRoot: common.Hash(h.BodyRoot),
	}
}

// headerJSON is a header as the beacon API spells it: numbers are strings.
func headerJSON(h btypes.Header) any {
	return map[string]any{
		"slot": fmt.Sprint(h.Slot), "proposer_index": fmt.Sprint(h.ProposerIndex),
		"parent_root": h.ParentRoot, "state_root": h.StateRoot, "body_root": h.BodyRoot,
	}
}

// withPayload is a LightClientHeader (consensus-specs, capella/light-client/sync-protocol.md).
func (api *beaconAPI) withPayload(root common.Hash) map[string]any {
	header := api.header(root)
	return map[string]any{"beacon": headerJSON(header), "execution": api.payloads[root].header, "execution_branch": api.payloads[root].branch}
}

func (api *beaconAPI) optimistic(t *testing.T) any {
	header := api.header(api.last)
	return map[string]any{"version": beaconFork, "data": map[string]any{
		"attested_header": api.withPayload(api.last),
		"sync_aggregate":  api.committees[1].sign(t, api.signingRoot(t, header)),
		"signature_slot":  fmt.Sprint(header.Slot + 1),
	}}
}

// finality is nil until a block stands on the finalized one.
func (api *beaconAPI) finality(t *testing.T) any {
	if api.final == api.last || api.final == (common.Hash{}) {
		return nil
	}
	header := api.header(api.last)
	state := leaves{bparams.StateIndexFinalBlock(beaconFork): api.final}
	return map[string]any{"version": beaconFork, "data": map[string]any{
		"attested_header":  api.withPayload(api.last),
		"finalized_header": api.withPayload(api.final),
		"finality_branch":  state.branch(bparams.StateIndexFinalBlock(beaconFork)),
		"sync_aggregate":   api.committees[1].sign(t, api.signingRoot(t, header)),
		"signature_slot":   fmt.Sprint(header.Slot + 1),
	}}
}

// payloadOf is the block as consensus clients carry it.
func payloadOf(t *testing.T, block *types.Block) *deneb.ExecutionPayload {
	h := block.Header()
	base, overflow := uint256.FromBig(h.BaseFee)
	if overflow {
		t.Fatal("base fee")
	}
	payload := &deneb.ExecutionPayload{
		ParentHash: tree.Root(h.ParentHash), FeeRecipient: zrnt.Eth1Address(h.Coinbase), StateRoot: zrnt.Bytes32(h.Root),
		ReceiptsRoot: zrnt.Bytes32(h.ReceiptHash), LogsBloom: zrnt.LogsBloom(h.Bloom), PrevRandao: zrnt.Bytes32(h.MixDigest),
		BlockNumber: view.Uint64View(h.Number.Uint64()), GasLimit: view.Uint64View(h.GasLimit), GasUsed: view.Uint64View(h.GasUsed),
		Timestamp: zrnt.Timestamp(h.Time), ExtraData: zrnt.ExtraData(h.Extra), BaseFeePerGas: view.Uint256View(*base),
		BlockHash: tree.Root(block.Hash()), BlobGasUsed: view.Uint64View(*h.BlobGasUsed), ExcessBlobGas: view.Uint64View(*h.ExcessBlobGas),
		Withdrawals: zrnt.Withdrawals{},
	}
	for _, tx := range block.Transactions() {
		raw, err := tx.MarshalBinary()
		check(t, err)
		payload.Transactions = append(payload.Transactions, zrnt.Transaction(raw))
	}
	return payload
}

// provePayload finds the proof of the payload in the body's own hashing: it notes every
// pair that is hashed on the way to the body's root.
func provePayload(t *testing.T, body *electra.BeaconBlockBody) payloadProof {
	type step struct{ sibling, parent common.Hash }
	steps := make(map[common.Hash]step)
	plain := tree.GetHashFn()
	root := common.Hash(body.HashTreeRoot(configs.Mainnet, func(a, b tree.Root) tree.Root {
		parent := plain(a, b)
		steps[common.Hash(a)] = step{common.Hash(b), common.Hash(parent)}
		steps[common.Hash(b)] = step{common.Hash(a), common.Hash(parent)}
		return parent
	}))
	proof := payloadProof{header: body.ExecutionPayload.Header(configs.Mainnet)}
	for at := common.Hash(proof.header.HashTreeRoot(plain)); at != root; {
		next, ok := steps[at]
		if !ok || len(proof.branch) > 4 {
			t.Fatal("payload is not in the body")
		}
		proof.branch, at = append(proof.branch, next.sibling), next.parent
	}
	return proof
}

func keccak(b []byte) common.Hash { return crypto.Keccak256Hash(b) }

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
