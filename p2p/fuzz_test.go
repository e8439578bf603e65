// SPDX-License-Identifier: LGPL-3.0-or-later

package p2p

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/big"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto/kzg4844"
	"github.com/ethereum/go-ethereum/eth/protocols/eth"
	"github.com/ethereum/go-ethereum/eth/protocols/snap"
	gethp2p "github.com/ethereum/go-ethereum/p2p"
	"github.com/ethereum/go-ethereum/params"
	"github.com/ethereum/go-ethereum/rlp"
)

// emptyChain knows its genesis and nothing else.
type emptyChain struct{ genesis *types.Block }

func newEmptyChain() emptyChain {
	return emptyChain{types.NewBlockWithHeader(&types.Header{Number: new(big.Int), Difficulty: new(big.Int)})}
}

func (c emptyChain) Config() *params.ChainConfig                { return params.MergedTestChainConfig }
func (c emptyChain) Genesis() *types.Block                      { return c.genesis }
func (c emptyChain) CurrentHeader() *types.Header               { return c.genesis.Header() }
func (c emptyChain) Header(common.Hash) *types.Header           { return c.genesis.Header() }
func (c emptyChain) HeaderByNumber(uint64) *types.Header        { return c.genesis.Header() }
func (c emptyChain) Block(common.Hash) *types.Block             { return c.genesis }
func (c emptyChain) Receipts(common.Hash) types.Receipts        { return nil }
func (c emptyChain) AccessList(common.Hash) rlp.RawValue        { return nil }
func (c emptyChain) Oldest() uint64                             { return 0 }
func (c emptyChain) State(common.Hash) State                    { return c }
func (c emptyChain) TrieNode(_ common.Hash, path []byte) []byte { return path }
func (c emptyChain) Prove(_, key common.Hash) [][]byte          { return [][]byte{key[:]} }
func (c emptyChain) Leaves(_, origin common.Hash, each func(common.Hash, []byte) bool) bool {
	for range 100 {
		if !each(origin, []byte{1}) {
			break
		}
		origin[30]++
	}
	return true
}
func (c emptyChain) Code(hash common.Hash) []byte { return hash[:] }
func (c emptyChain) Data(hash common.Hash) []byte { return hash[:] }

// FuzzIncoming feeds any message of any kind to a peer: it is accepted, or it is a protocol
// error; nothing panics.
func FuzzIncoming(f *testing.F) {
	chain := newEmptyChain()
	seed := func(m message, packet any) {
		enc, err := rlp.EncodeToBytes(packet)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(m), uint8(72), enc)
		f.Add(uint8(m), uint8(71), enc)
		f.Add(uint8(m), uint8(69), enc)
		f.Add(uint8(m), uint8(66), enc)
	}
	seed(msgGetBlockHeaders, &eth.GetBlockHeadersPacket{RequestId: 1, GetBlockHeadersRequest: &eth.GetBlockHeadersRequest{Amount: 3, Skip: 2, Reverse: true}})
	seed(msgGetBlockBodies, &eth.GetBlockBodiesPacket{RequestId: 1, GetBlockBodiesRequest: []common.Hash{{1}}})
	seed(msgGetReceipts, &eth.GetReceiptsPacket70{RequestId: 1, GetReceiptsRequest: []common.Hash{{1}}})
	seed(msgGetAccessLists, &eth.GetBlockAccessListsPacket{RequestId: 1, GetBlockAccessListsRequest: []common.Hash{{1}}})
	seed(msgGetCells, &eth.GetCellsRequestPacket{RequestId: 1, Hashes: []common.Hash{{1}, {31: 2}}, Mask: types.CustodyBitmapData})
	seed(msgBlockRangeUpdate, &eth.BlockRangeUpdatePacket{LatestBlockHash: common.Hash{1}})
	seed(msgPooledHashes, &eth.NewPooledTransactionHashesPacket71{Types: []byte{1}, Sizes: []uint32{1}, Hashes: []common.Hash{{1}}})
	seed(msgPooledHashes, &eth.NewPooledTransactionHashesPacket72{Types: []byte{3}, Sizes: []uint32{1}, Hashes: []common.Hash{{1}}, Mask: types.CustodyBitmapAll})
	seed(msgTransactions, []*types.Transaction{types.NewTx(&types.DynamicFeeTx{})})
	seed(msgGetTrieNodes, []any{uint64(1), common.Hash{}, [][][]byte{{{0x10}}, {{1}, {0x11, 0x23}}}, uint64(999)})
	seed(msgGetByteCodes, &snap.GetByteCodesPacket{Hashes: []common.Hash{{1}}})
	seed(msgGetAccountRange, &snap.GetAccountRangePacket{ID: 1, Origin: common.Hash{2}, Limit: common.Hash{1}, Bytes: 1 << 40})
	seed(msgGetStorageRanges, &snap.GetStorageRangesPacket{ID: 1, Accounts: []common.Hash{{1}, {}, {2}}, Origin: []byte{1}, Limit: make([]byte, 40), Bytes: 1})
	seed(msgTrieNodes, []any{uint64(1), []string{"a"}})
	seed(msgGetWitnessHashes, &getWitnessPacket{1, common.Hash{1}})
	seed(msgGetWitnessKeys, &getWitnessPacket{1, common.Hash{2}})
	seed(msgGetNodeData, &getNodeDataPacket{1, []common.Hash{{1}, {2}}})
	seed(msgPooledHashes, []common.Hash{{1}})
	seed(msgWitnessKeys, &witnessKeysPacket{1, rlp.EmptyList})
	seed(msgGetSubtrees, &getSubtreesPacket{1, []wireSubtree{{Path: []byte{0x11}, Hash: common.Hash{1}}, {Hash: common.Hash{2}}, {Hash: common.Hash{3}}}, 1 << 20})
	seed(msgHave, &havePacket{Number: 1, Large: []largePacket{{}}})
	fuzzSwarm := newTestSwarm()
	fuzzSwarm.onHave = nil // no test reads it
	f.Fuzz(func(t *testing.T, kind, version uint8, payload []byte) {
		p := NewPeer(Link{ID: "fuzz", Version: uint(version)}, PeerConfig{Chain: chain, State: chain, Data: chain, Witnesses: testWitnesses{}, Swarm: fuzzSwarm})
		m := messages[kind%uint8(messageCount)]
		in := incoming{message(kind % uint8(messageCount)), payload}
		err := p.receive(m.protocol, gethp2p.Msg{Code: m.code, Size: uint32(len(payload)), Payload: bytes.NewReader(payload)})
		select {
		case in = <-p.queue:
			if m.role == roleGossip {
				err = p.gossip(in)
			} else {
				_, _, err = p.reply(in)
			}
		default:
		}
		var violation *ProtocolError
		if err != nil && !errors.As(err, &violation) {
			t.Fatalf("%s: %v is no protocol error", in.msg, err)
		}
	})
}

// answering is a stream on which every request is answered at once.
type answering struct{ answer func(id uint64) }

func (a answering) ReadMsg() (gethp2p.Msg, error) { return gethp2p.Msg{}, io.EOF }
func (a answering) WriteMsg(msg gethp2p.Msg) error {
	payload, err := io.ReadAll(msg.Payload)
	if err != nil {
		return err
	}
	id, err := requestID(payload, uint32(len(payload)))
	if err != nil {
		return err
	}
	a.answer(id)
	return nil
}

// FuzzReplies answers each request with any fields after the request id.
func FuzzReplies(f *testing.F) {
	chain := newEmptyChain()
	seed := func(m message, fields ...any) {
		enc, err := rlp.EncodeToBytes(fields)
		if err != nil {
			f.Fatal(err)
		}
		content, _, err := rlp.SplitList(enc)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(m), uint8(72), content)
		f.Add(uint8(m), uint8(71), content)
		f.Add(uint8(m), uint8(69), content)
		f.Add(uint8(m), uint8(66), content)
	}
	seed(msgBlockHeaders, []*types.Header{chain.genesis.Header()})
	seed(msgBlockBodies, []*types.Body{{Transactions: types.Transactions{types.NewTx(&types.LegacyTx{})}, Withdrawals: types.Withdrawals{{}}}})
	seed(msgReceipts, true, [][]eth.Receipt{{{PostStateOrStatus: []byte{1}, Logs: []byte{0xc0}}}})
	seed(msgAccessLists, []any{[]uint{}, ""})
	seed(msgPooledTransactions, []*types.Transaction{types.NewTx(&types.DynamicFeeTx{})})
	seed(msgCells, []common.Hash{{1}}, [][]kzg4844.Cell{{{}, {}}}, types.NewCustodyBitmap([]uint64{1, 99}))
	seed(msgTrieNodes, []string{"node", ""})
	seed(msgByteCodes, []string{"code"})
	seed(msgNodeData, []string{"node", "code"})
	seed(msgBeamNodeData, []string{"node", "code"})
	seed(msgReceipts, [][]*types.Receipt{{{Type: 2, Status: 1}}})
	seed(msgAccountRange, []*snap.AccountData{{Body: []byte{0xc0}}}, []string{"proof"})
	seed(msgWitnessHashes, []common.Hash{{1}, {2}})
	seed(msgWitnessKeys, testKeys)
	seed(msgSubtrees, [][]*snap.StorageData{{{Body: []byte{0xc0}}}, {{Body: []byte{1}}}}, []string{"proof"})
	seed(msgStorageRanges, [][]*snap.StorageData{{{Body: []byte{1}}}}, []string{"proof"})
	f.Fuzz(func(t *testing.T, kind, version uint8, fields []byte) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		expect := message(kind % uint8(messageCount))
		var p *Peer
		stream := answering{func(id uint64) {
			payload, err := rlp.MergeListValues([][]byte{rlp.AppendUint64(nil, id), fields})
			if err != nil {
				panic(err)
			}
			p.inFlight.deliver(id, expect, payload)
		}}
		p = NewPeer(Link{ID: "fuzz", Version: uint(version), Eth: stream, Snap: stream, Wit: stream, Beam: stream}, PeerConfig{Chain: chain})
		err := askFor(ctx, p, expect)
		var violation *ProtocolError
		if err != nil && !errors.As(err, &violation) && !errors.Is(err, errors.ErrUnsupported) {
			t.Fatalf("%s: %v is no protocol error", expect, err)
		}
	})
}

// askFor sends the request that expects a message.
func askFor(ctx context.Context, p *Peer, expect message) (err error) {
	two := []common.Hash{{1}, {2}}
	blocks := headersUsing(0, 0)
	switch expect { //nolint:exhaustive // only responses are expected
	case msgBlockHeaders:
		_, err = p.Headers(ctx, common.Hash{}, 2, true)
	case msgBlockBodies:
		_, err = p.Bodies(ctx, blocks)
	case msgReceipts:
		_, err = p.Receipts(ctx, blocks)
	case msgAccessLists:
		_, err = p.AccessLists(ctx, blocks)
	case msgPooledTransactions:
		_, err = p.PooledTransactions(ctx, two)
	case msgCells:
		_, _, err = p.Cells(ctx, two, types.NewCustodyBitmap([]uint64{1, 99}))
	case msgTrieNodes:
		_, err = p.TrieNodes(ctx, common.Hash{}, [][][]byte{{{0}, {1}, {2}}}, 1)
	case msgByteCodes:
		_, err = p.ByteCodes(ctx, two, 1)
	case msgNodeData, msgBeamNodeData:
		if (expect == msgNodeData) == (p.Version() == eth66) {
			_, err = p.NodeData(ctx, two)
		}
	case msgWitnessHashes:
		_, err = p.WitnessHashes(ctx, common.Hash{1})
	case msgWitnessKeys:
		_, err = p.WitnessKeys(ctx, common.Hash{1})
	case msgSubtrees:
		_, _, _, err = p.Subtrees(ctx, []Subtree{{}, {Owner: common.Hash{1}}}, 1)
	case msgAccountRange:
		_, err = p.AccountRange(ctx, common.Hash{}, common.Hash{}, common.Hash{}, 1)
	case msgStorageRanges:
		_, err = p.StorageRanges(ctx, common.Hash{}, two, nil, nil, 1)
	}
	return err
}
