package e2e_test

import (
	"fmt"
	"math/big"
	"path/filepath"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/forkid"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	gethp2p "github.com/ethereum/go-ethereum/p2p"
	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/ethereum/go-ethereum/rlp"
	gethrpc "github.com/ethereum/go-ethereum/rpc"

	"github.com/sunbeam-eth/sunbeam/internal/demo"
	"github.com/sunbeam-eth/sunbeam/trie"
)

// Message codes and packets of eth/66, as geth v1.10 has them: written down here once more, so
// that our node is asked by somebody else.
const (
	statusMsg      = 0x00
	getNodeDataMsg = 0x0d
	nodeDataMsg    = 0x0e
)

type (
	oldStatus struct {
		ProtocolVersion uint32
		NetworkID       uint64
		TD              *big.Int
		Head            common.Hash
		Genesis         common.Hash
		ForkID          forkid.ID
	}
	getNodeData struct {
		RequestID uint64
		Hashes    []common.Hash
	}
	nodeData struct {
		RequestID uint64
		Blobs     [][]byte
	}
)

// A beaming node gives node data to a stranger that speaks eth/66: all that it has of the state that
// it stands on is there, by hash, and nothing else. The geth v1.10.26 that it beams from stays connected.
func TestGivesNodeData(t *testing.T) {
	w := newOldWorld(t)
	n := start(t, w, filepath.Join(t.TempDir(), "sunbeam"), "--beam.backfill=false")
	var head *types.Header
	for range 3 {
		p := build(t, w.Builder, someTransactions(w))
		mustBring(t, n, p, 20*time.Second)
		head = w.Builder.Head()
	}

	nodes, codes, missing := askForAll(t, w, n, head)
	if nodes < 300 || codes < 2 || missing < 1000 { // three blocks touched a part of the state
		t.Error("that is not what a beaming node has")
	}
	onlyEth66(t, n) // with geth, still
	stop(t, n)
}

// A fresh node becomes a full one by hash alone, with nothing else to do, and gives the whole state by hash
// although it knows its nodes by path.
func TestGivesWholeStateByHash(t *testing.T) {
	w := newOldWorld(t)
	dir := filepath.Join(t.TempDir(), "sunbeam")
	n := start(t, w, dir)
	mustBring(t, n, build(t, w.Builder, someTransactions(w)), 20*time.Second)
	began := time.Now()
	nodes := awaitWhole(t, n)
	t.Logf("%.0f nodes/s from one peer, %v away, the hand-over included", float64(nodes)/time.Since(began).Seconds(), 2*delay)
	mustBring(t, n, build(t, w.Builder, someTransactions(w)), 20*time.Second) // on top of what is on disk
	given, codes, missing := askForAll(t, w, n, w.Builder.Head())
	if given < w.Spec.Accounts || codes == 0 || missing > 0 {
		t.Errorf("%d nodes, %d codes, %d missing", given, codes, missing)
	}
	stop(t, n)
}

// askForAll walks the state of a block by hash, as a stranger that speaks eth/66, as far as the node has it.
func askForAll(t *testing.T, w *demo.World, n *demo.Node, head *types.Header) (nodes, codes, missing int) {
	t.Helper()
	result := make(chan error, 1)
	server := &gethp2p.Server{Config: gethp2p.Config{
		PrivateKey: must(crypto.GenerateKey()), MaxPeers: 1, NoDiscovery: true, Name: "stranger",
		Protocols: []gethp2p.Protocol{{Name: "eth", Version: 66, Length: 17, Run: func(_ *gethp2p.Peer, rw gethp2p.MsgReadWriter) (err error) {
			nodes, codes, missing, err = takeNodeData(w, rw, head)
			select {
			case result <- err:
			default:
			}
			return gethp2p.DiscQuitting
		}}},
	}}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	defer server.Stop()
	server.AddPeer(self(t, n))
	select {
	case err := <-result:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(60 * time.Second):
		t.Fatal("no connection, or no end of the state")
	}
	t.Logf("%d nodes and %d codes by hash, %d of their children are not held", nodes, codes, missing)
	return nodes, codes, missing
}

// takeNodeData shakes hands and walks the state as far as the other end has it.
func takeNodeData(w *demo.World, rw gethp2p.MsgReadWriter, head *types.Header) (nodes, codes, missing int, err error) {
	genesis := w.Spec.Genesis().ToBlock()
	status := &oldStatus{
		ProtocolVersion: 66, NetworkID: w.Spec.Config().ChainID.Uint64(), TD: new(big.Int), Head: genesis.Hash(), Genesis: genesis.Hash(),
		ForkID: forkid.NewID(w.Spec.Config(), genesis, 0, genesis.Time()),
	}
	sent := make(chan error, 1)
	go func() { sent <- gethp2p.Send(rw, statusMsg, status) }()
	var theirs oldStatus
	if err := receive(rw, statusMsg, &theirs); err != nil {
		return nodes, codes, missing, err
	}
	if err := <-sent; err != nil {
		return nodes, codes, missing, err
	}
	if theirs.Head != head.Hash() {
		return nodes, codes, missing, fmt.Errorf("head %x, want %x", theirs.Head, head.Hash())
	}
	isCode, seen := make(map[common.Hash]bool), make(map[common.Hash]bool)
	var level []common.Hash
	want := func(hash common.Hash) {
		if !seen[hash] {
			seen[hash] = true
			level = append(level, hash)
		}
	}
	for want(head.Root); len(level) > 0; {
		asked := level[:min(len(level), 384)]
		level = level[len(asked):]
		if err := gethp2p.Send(rw, getNodeDataMsg, &getNodeData{uint64(nodes), asked}); err != nil {
			return nodes, codes, missing, err
		}
		var reply nodeData
		if err := receive(rw, nodeDataMsg, &reply); err != nil {
			return nodes, codes, missing, err
		}
		if reply.RequestID != uint64(nodes) {
			return nodes, codes, missing, fmt.Errorf("reply to request %d, not %d", reply.RequestID, nodes)
		}
		wanted := make(map[common.Hash]bool)
		for _, hash := range asked {
			wanted[hash] = true
		}
		for _, blob := range reply.Blobs {
			hash := crypto.Keccak256Hash(blob)
			if !wanted[hash] {
				return nodes, codes, missing, fmt.Errorf("nobody asked for %x", hash)
			}
			delete(wanted, hash)
			if isCode[hash] {
				codes++
				continue
			}
			nodes++
			children, err := trie.Children(blob)
			if err != nil {
				return nodes, codes, missing, err
			}
			for _, child := range children {
				var account types.StateAccount
				if child.Value == nil {
					want(child.Hash)
				} else if rlp.DecodeBytes(child.Value, &account) == nil { // a value of storage is no list
					if account.Root != types.EmptyRootHash {
						want(account.Root)
					}
					if code := common.BytesToHash(account.CodeHash); code != types.EmptyCodeHash {
						isCode[code] = true
						want(code)
					}
				}
			}
		}
		missing += len(wanted)
	}
	return nodes, codes, missing, nil
}

// receive reads one message of a kind.
func receive(rw gethp2p.MsgReadWriter, code uint64, into any) error {
	for {
		msg, err := rw.ReadMsg()
		if err != nil {
			return err
		}
		if msg.Code == code {
			return msg.Decode(into)
		}
		if err := msg.Discard(); err != nil { // it asks for the header of our head
			return err
		}
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// self is where the node listens.
func self(t *testing.T, n *demo.Node) *enode.Node {
	t.Helper()
	client, err := gethrpc.DialContext(t.Context(), n.IPC)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	var info gethp2p.NodeInfo
	if err := client.CallContext(t.Context(), &info, "admin_nodeInfo"); err != nil {
		t.Fatal(err)
	}
	return enode.MustParse(info.Enode)
}
