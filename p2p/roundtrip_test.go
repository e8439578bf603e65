// SPDX-License-Identifier: LGPL-3.0-or-later

package p2p

import (
	"bytes"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/crypto/kzg4844"
	"github.com/ethereum/go-ethereum/eth/protocols/eth"
	"github.com/ethereum/go-ethereum/rlp"
	gethtrie "github.com/ethereum/go-ethereum/trie"
)

// TestRoundTrips runs every request between two Peers and checks the answers against the
// server's chain.
func TestRoundTrips(t *testing.T) {
	chain := newTestChain(t)
	for _, version := range offeredEth() {
		c := connect(t, version, true, chain.serving(), chain.serving())
		checkChainRequests(t, c.client, chain)
		checkStateRequests(t, c.client, chain)
		checkAccessLists(t, c.client, chain)
		equal(t, "eth version", c.client.Version(), version)
		if c.client.Latency() <= 0 {
			t.Error("no latency measured")
		}
		number, hash := c.client.Head()
		for end := time.Now().Add(5 * time.Second); number == 0 && version == eth66 && time.Now().Before(end); number, hash = c.client.Head() {
			time.Sleep(time.Millisecond) // the status of eth/66 does not have it
		}
		equal(t, "head number", number, uint64(testBlocks))
		equal(t, "head hash", hash, chain.hash(testBlocks))
	}
}

// checkChainRequests requests headers, bodies and receipts of the test chain.
func checkChainRequests(t *testing.T, p *Peer, chain testChain) {
	t.Helper()
	ctx := testContext(t)

	headers, err := p.Headers(ctx, chain.hash(100), 64, true)
	if err != nil {
		t.Fatalf("headers: %v", err)
	}
	equal(t, "headers", len(headers), 64)
	for i, header := range headers {
		equal(t, "ancestor", header.Hash(), chain.hash(100-uint64(i)))
	}
	if headers, err = p.Headers(ctx, chain.hash(100), 64, false); err != nil || len(headers) != testBlocks-100+1 {
		t.Fatalf("headers up to the head: %d, %v", len(headers), err)
	}
	if headers, err = p.HeadersByNumber(ctx, 3, 2); err != nil || len(headers) != 2 || headers[1].Hash() != chain.hash(4) {
		t.Fatalf("headers by number: %v, %v", headers, err)
	}
	if headers, err = p.Headers(ctx, common.Hash{1}, 3, true); err != nil || len(headers) != 0 {
		t.Fatalf("unknown origin: %v, %v", headers, err)
	}

	headers = []*types.Header{chain.HeaderByNumber(1), chain.HeaderByNumber(2), chain.HeaderByNumber(3), headersUsing(0)[0], chain.HeaderByNumber(4)}
	bodies, err := p.Bodies(ctx, headers)
	if err != nil {
		t.Fatalf("bodies: %v", err)
	}
	equal(t, "bodies up to the unknown one", len(bodies), 3)
	for i, body := range bodies {
		header := headers[i]
		equal(t, "transactions root", types.DeriveSha(types.Transactions(body.Transactions), gethtrie.NewStackTrie(nil)), header.TxHash)
		equal(t, "uncles", types.CalcUncleHash(body.Uncles), header.UncleHash)
		if body.Withdrawals == nil {
			t.Fatal("withdrawals of a block after Shanghai are missing")
		}
	}

	blocks, err := p.Receipts(ctx, headers)
	if err != nil {
		t.Fatalf("receipts: %v", err)
	}
	equal(t, "receipts up to the unknown block", len(blocks), 3)
	for i, receipts := range blocks {
		equal(t, "receipts root", types.DeriveSha(receipts, gethtrie.NewStackTrie(nil)), headers[i].ReceiptHash)
		equal(t, "bloom", types.MergeBloom(receipts), headers[i].Bloom)
	}
	equal(t, "logs in block 3", len(blocks[2][1].Logs), 1)
}

func checkAccessLists(t *testing.T, p *Peer, chain testChain) {
	t.Helper()
	lists, err := p.AccessLists(testContext(t), []*types.Header{chain.HeaderByNumber(2), headersUsing(0)[0], chain.HeaderByNumber(3)})
	if p.Version() < 71 {
		if !errors.Is(err, errors.ErrUnsupported) {
			t.Fatalf("access lists over eth/%d: %v", p.Version(), err)
		}
		return
	}
	if err != nil {
		t.Fatalf("access lists: %v", err)
	}
	equal(t, "access lists", lists, []rlp.RawValue{chain.AccessList(chain.hash(2)), nil, chain.AccessList(chain.hash(3))})
	if len(lists[0]) == 0 {
		t.Fatal("the test chain has no access list")
	}
}

func checkStateRequests(t *testing.T, p *Peer, chain testChain) {
	t.Helper()
	ctx := testContext(t)
	root := chain.CurrentHeader().Root
	owner := crypto.Keccak256Hash(testStorer[:])

	code := chain.Code(crypto.Keccak256Hash([]byte{0x5f, 0x35, 0x43, 0x55, 0x00}))
	codes, err := p.ByteCodes(ctx, []common.Hash{{1}, crypto.Keccak256Hash(code)}, 1<<20)
	if err != nil || len(codes) != 1 || !bytes.Equal(codes[0], code) || len(code) == 0 {
		t.Fatalf("codes: %x, %v", codes, err)
	}

	// All prefixes of an account key and of a storage key, mixed in one request.
	var sets [][][]byte
	for depth := range 13 {
		sets = append(sets, [][]byte{compact(hexKey(owner)[:depth])})
	}
	slot := crypto.Keccak256Hash(common.Hash{31: 7}.Bytes())
	storage := [][]byte{owner[:]}
	for depth := range 13 {
		storage = append(storage, compact(hexKey(slot)[:depth]))
	}
	nodes, err := p.TrieNodes(ctx, root, append(sets, storage), 2<<20)
	if err != nil {
		t.Fatalf("trie nodes: %v", err)
	}
	equal(t, "one entry per path", len(nodes), 26)
	checkPath(t, "account", chain, root, common.Hash{}, owner, nodes[:13])
	checkPath(t, "storage", chain, root, owner, slot, nodes[13:])

	nodes, err = p.TrieNodes(ctx, common.Hash{1}, sets, 2<<20)
	if err != nil || len(nodes) != 0 {
		t.Fatalf("unknown root: %d nodes, %v", len(nodes), err)
	}
	if _, err := p.TrieNodes(ctx, root, [][][]byte{{}}, 2<<20); err == nil || p.isDone() {
		t.Fatalf("an empty path set must fail here and not at the peer: %v", err)
	}
}

// checkPath checks the nodes at the first prefixes of a key: those that exist are in
// place, the others empty, and the path ends within the prefixes.
func checkPath(t *testing.T, what string, chain testChain, root, owner, key common.Hash, nodes [][]byte) {
	t.Helper()
	found := 0
	for depth, node := range nodes {
		want := chain.nodeOf(root, owner, hexKey(key)[:depth])
		if !bytes.Equal(node, want) {
			t.Fatalf("%s node at depth %d: got %x, want %x", what, depth, node, want)
		}
		if len(node) > 0 {
			found++
		}
	}
	if found < 2 || len(nodes[len(nodes)-1]) != 0 {
		t.Fatalf("%s: %d of %d nodes found; the test needs a complete path of at least 2 nodes", what, found, len(nodes))
	}
}

func TestPeerWithoutSnap(t *testing.T) {
	chain := newTestChain(t)
	c := connect(t, 71, false, chain.serving(), chain.serving())
	if c.client.ServesState() {
		t.Error("state without snap")
	}
	ctx := testContext(t)
	_, nodes := c.client.TrieNodes(ctx, common.Hash{}, [][][]byte{{{0}}}, 1)
	_, codes := c.client.ByteCodes(ctx, []common.Hash{{}}, 1)
	_, accounts := c.client.AccountRange(ctx, common.Hash{}, common.Hash{}, common.Hash{}, 1)
	_, slots := c.client.StorageRanges(ctx, common.Hash{}, nil, nil, nil, 1)
	for _, err := range []error{nodes, codes, accounts, slots} {
		if !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("got %v, want ErrUnsupported", err)
		}
	}
	checkChainRequests(t, c.client, chain)
}

// bigReceipts is a chain with blocks whose receipts exceed a message.
type bigReceipts struct {
	testChain
	big map[common.Hash]types.Receipts
}

func (c bigReceipts) Receipts(hash common.Hash) types.Receipts {
	if r, ok := c.big[hash]; ok {
		return r
	}
	return c.testChain.Receipts(hash)
}

func TestPartialReceipts(t *testing.T) {
	chain := newTestChain(t)
	var receipts types.Receipts
	for i := range 60 { // 24 MB
		r := &types.Receipt{Type: 2, Status: 1, CumulativeGasUsed: uint64(i), Logs: []*types.Log{{Topics: []common.Hash{}, Data: make([]byte, 400_000)}}}
		r.Bloom = types.CreateBloom(r)
		receipts = append(receipts, r)
	}
	big := types.CopyHeader(chain.HeaderByNumber(5))
	big.GasUsed = 500_000_000
	server := chain.serving()
	server.Chain = bigReceipts{chain, map[common.Hash]types.Receipts{big.Hash(): receipts}}
	headers := []*types.Header{chain.HeaderByNumber(4), big, chain.HeaderByNumber(6)}

	c := connect(t, 70, true, chain.serving(), server)
	blocks, err := c.client.Receipts(testContext(t), headers)
	if err != nil {
		t.Fatalf("receipts: %v", err)
	}
	equal(t, "blocks up to the big one", len(blocks), 2)
	equal(t, "root", types.DeriveSha(blocks[1], gethtrie.NewStackTrie(nil)), types.DeriveSha(receipts, gethtrie.NewStackTrie(nil)))

	// eth/69 cannot cut a block: the reply ends before it.
	c = connect(t, 69, true, chain.serving(), server)
	if blocks, err = c.client.Receipts(testContext(t), headers); err != nil || len(blocks) != 1 {
		t.Fatalf("eth/69: %d blocks, %v", len(blocks), err)
	}
	if blocks, err = c.client.Receipts(testContext(t), headers[1:]); err != nil || len(blocks) != 0 {
		t.Fatalf("eth/69, big block first: %d blocks, %v", len(blocks), err)
	}
}

type announcement struct {
	kinds   []byte
	sizes   []uint32
	hashes  []common.Hash
	columns types.CustodyBitmap
}

// pool records announced and received transactions and has one transaction.
type pool struct {
	stored    *types.Transaction
	announced chan announcement
	received  chan []*types.Transaction
}

func (p pool) Received(_ *Peer, txs []*types.Transaction) { p.received <- txs }

func (p pool) Announced(_ *Peer, kinds []byte, sizes []uint32, hashes []common.Hash, columns types.CustodyBitmap) {
	p.announced <- announcement{kinds, sizes, hashes, columns}
}

func (p pool) Cells(hash common.Hash, columns types.CustodyBitmap) []kzg4844.Cell {
	if hash == p.stored.Hash() {
		return testCells(2, columns)
	}
	return nil
}

func (p pool) Pooled(hash common.Hash, _ uint) (enc rlp.RawValue) {
	if hash == p.stored.Hash() {
		enc, _ = rlp.EncodeToBytes(p.stored)
	}
	return enc
}

func TestTransactions(t *testing.T) {
	chain := newTestChain(t)
	tx := chain.Block(chain.hash(9)).Transactions()[0]
	other := chain.Block(chain.hash(9)).Transactions()[1]
	txs := pool{tx, make(chan announcement, 1), make(chan []*types.Transaction, 1)}
	server := chain.serving()
	server.Transactions = txs
	for _, version := range []uint{eth.ETH71, eth.ETH72} {
		checkTransactions(t, version, chain, server, txs, other)
	}
}

func checkTransactions(t *testing.T, version uint, chain testChain, server PeerConfig, txs pool, other *types.Transaction) {
	t.Helper()
	tx := txs.stored
	c := connect(t, version, true, chain.serving(), server)
	ctx := testContext(t)

	got, err := c.client.PooledTransactions(ctx, []common.Hash{other.Hash(), tx.Hash()})
	if err != nil || len(got) != 1 || got[0].Hash() != tx.Hash() {
		t.Fatalf("pooled transactions: %v, %v", got, err)
	}
	if got, err = c.server.PooledTransactions(ctx, []common.Hash{tx.Hash()}); err != nil || len(got) != 0 {
		t.Fatalf("a peer without a pool: %v, %v", got, err)
	}
	if err := c.client.SendTransactions(ctx, []*types.Transaction{tx, other}); err != nil {
		t.Fatal(err)
	}
	equal(t, "received", len(<-txs.received), 2)
	want := announcement{[]byte{2}, []uint32{99}, []common.Hash{tx.Hash()}, types.NewCustodyBitmap([]uint64{1, 77})}
	if err := c.client.AnnounceTransactions(ctx, want.kinds, want.sizes, want.hashes, want.columns); err != nil {
		t.Fatal(err)
	}
	if version < eth.ETH72 {
		want.columns = types.CustodyBitmap{}
	}
	if got := <-txs.announced; !reflect.DeepEqual(got, want) {
		t.Fatalf("announcement is %v, want %v", got, want)
	}
	// Without a hook both are checked and dropped.
	if err := c.server.write(ctx, msgTransactions, []*types.Transaction{tx}); err != nil {
		t.Fatal(err)
	}
	checkChainRequests(t, c.server, chain)
}
