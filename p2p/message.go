// SPDX-License-Identifier: LGPL-3.0-or-later

package p2p

import (
	"fmt"

	"github.com/ethereum/go-ethereum/eth/protocols/eth"
	"github.com/ethereum/go-ethereum/eth/protocols/snap"
)

// Limits of the protocols. The message limit is the usual one of eth and snap, the others are
// those of go-ethereum's servers (eth/protocols/{eth,snap}/handler.go).
const (
	maxMessageSize  = 10 << 20  // bytes, any message
	maxIncoming     = 2 << 20   // bytes of a message that is no response; real ones stay below a tenth
	maxAnnouncement = 16 << 10  // bytes of a status, a block range or a Have: 64 large tries take 5 KB
	maxPooledHashes = 512 << 10 // bytes of an announcement: the usual limit of 4096 transactions takes 160 KB
	softReplySize   = 2 << 20   // bytes after which no further item is added to a reply
	maxLookups      = 1024      // headers, bodies, receipts, access lists, codes, trie nodes
	maxPooled       = 4096      // transactions per request or announcement
	maxGossiped     = 5000      // transactions in one Transactions message
	maxProof        = 128       // nodes in a range proof
)

// protocol is one of the streams of a link: eth, or one of its satellites.
type protocol int

const (
	protoEth protocol = iota
	protoSnap
	protoWit
	protoBeam
)

const protocolCount = int(protoBeam) + 1

// satellite is a protocol that runs on a connection with eth, never alone (devp2p
// caps/snap.md calls snap a "dependent satellite of eth").
type satellite struct {
	protocol protocol
	name     string
	version  uint
	length   uint64 // number of message codes
}

// satellites lists the supported ones, one version of each.
//
//nolint:gochecknoglobals // a constant table
var satellites = []satellite{
	{protoSnap, snap.ProtocolName, snap.SNAP1, 8},
	{protoWit, witName, witVersion, witLength},
	{protoBeam, beamName, beamVersion, beamLength},
}

// String returns the protocol's name, for a satellite with its version.
func (p protocol) String() string {
	for _, s := range satellites {
		if s.protocol == p {
			return fmt.Sprintf("%s/%d", s.name, s.version)
		}
	}
	return eth.ProtocolName
}

// eth66 is the last version of eth with GetNodeData; go-ethereum has dropped it.
const eth66 = 66

// ethVersions maps the supported versions of eth to their number of message codes. The package
// documentation says why eth/67 and eth/68 are not supported.
//
//nolint:gochecknoglobals // a constant table
var ethVersions = map[uint]uint64{eth.ETH72: 22, eth.ETH71: 20, eth.ETH70: 18, eth.ETH69: 18, eth66: 17}

// message is a kind of message on any stream; a closed set, used as a metric label.
type message int

const (
	msgStatus message = iota
	msgTransactions
	msgGetBlockHeaders
	msgBlockHeaders
	msgGetBlockBodies
	msgBlockBodies
	msgPooledHashes
	msgGetPooledTransactions
	msgPooledTransactions
	msgGetReceipts
	msgReceipts
	msgBlockRangeUpdate
	msgGetAccessLists
	msgAccessLists
	msgGetCells
	msgCells
	msgNewBlockHashes
	msgNewBlock
	msgGetNodeData
	msgNodeData
	msgGetAccountRange
	msgAccountRange
	msgGetStorageRanges
	msgStorageRanges
	msgGetByteCodes
	msgByteCodes
	msgGetTrieNodes
	msgTrieNodes
	msgGetWitnessHashes
	msgWitnessHashes
	msgGetWitnessKeys
	msgWitnessKeys
	msgBeamGetNodeData
	msgBeamNodeData
	msgGetSubtrees
	msgSubtrees
	msgHave
)

const messageCount = int(msgHave) + 1

// role is how a peer handles an incoming message.
type role int

const (
	roleHandshake role = iota // only as the first message
	roleGossip                // queued, dropped if the queue is full
	roleRange                 // handled at once
	roleHave                  // handled at once
	roleRequest               // queued, answered
	roleResponse              // passed to the waiting caller
	roleIgnored               // obsolete
)

type messageKind struct {
	name     string
	protocol protocol
	code     uint64
	role     role
	first    uint // version of eth that has it; 0: all up to last
	last     uint // 0: all from first on
}

// messages describes each kind of message on the wire.
//
//nolint:gochecknoglobals // a constant table
var messages = [messageCount]messageKind{
	msgStatus:                {"status", protoEth, eth.StatusMsg, roleHandshake, 0, 0},
	msgTransactions:          {"transactions", protoEth, eth.TransactionsMsg, roleGossip, 0, 0},
	msgGetBlockHeaders:       {"get_block_headers", protoEth, eth.GetBlockHeadersMsg, roleRequest, 0, 0},
	msgBlockHeaders:          {"block_headers", protoEth, eth.BlockHeadersMsg, roleResponse, 0, 0},
	msgGetBlockBodies:        {"get_block_bodies", protoEth, eth.GetBlockBodiesMsg, roleRequest, 0, 0},
	msgBlockBodies:           {"block_bodies", protoEth, eth.BlockBodiesMsg, roleResponse, 0, 0},
	msgPooledHashes:          {"new_pooled_transaction_hashes", protoEth, eth.NewPooledTransactionHashesMsg, roleGossip, 0, 0},
	msgGetPooledTransactions: {"get_pooled_transactions", protoEth, eth.GetPooledTransactionsMsg, roleRequest, 0, 0},
	msgPooledTransactions:    {"pooled_transactions", protoEth, eth.PooledTransactionsMsg, roleResponse, 0, 0},
	msgGetReceipts:           {"get_receipts", protoEth, eth.GetReceiptsMsg, roleRequest, 0, 0},
	msgReceipts:              {"receipts", protoEth, eth.ReceiptsMsg, roleResponse, 0, 0},
	msgBlockRangeUpdate:      {"block_range_update", protoEth, eth.BlockRangeUpdateMsg, roleRange, eth.ETH69, 0},
	msgGetAccessLists:        {"get_block_access_lists", protoEth, eth.GetBlockAccessListsMsg, roleRequest, eth.ETH71, 0},
	msgAccessLists:           {"block_access_lists", protoEth, eth.BlockAccessListsMsg, roleResponse, eth.ETH71, 0},
	msgGetCells:              {"get_cells", protoEth, eth.GetCellsMsg, roleRequest, eth.ETH72, 0},
	msgCells:                 {"cells", protoEth, eth.CellsMsg, roleResponse, eth.ETH72, 0},
	msgNewBlockHashes:        {"new_block_hashes", protoEth, eth.NewBlockHashesMsg, roleIgnored, 0, eth66},
	msgNewBlock:              {"new_block", protoEth, eth.NewBlockMsg, roleIgnored, 0, eth66},
	msgGetNodeData:           {"get_node_data", protoEth, getNodeDataCode, roleRequest, 0, eth66},
	msgNodeData:              {"node_data", protoEth, nodeDataCode, roleResponse, 0, eth66},
	msgGetAccountRange:       {"get_account_range", protoSnap, snap.GetAccountRangeMsg, roleRequest, 0, 0},
	msgAccountRange:          {"account_range", protoSnap, snap.AccountRangeMsg, roleResponse, 0, 0},
	msgGetStorageRanges:      {"get_storage_ranges", protoSnap, snap.GetStorageRangesMsg, roleRequest, 0, 0},
	msgStorageRanges:         {"storage_ranges", protoSnap, snap.StorageRangesMsg, roleResponse, 0, 0},
	msgGetByteCodes:          {"get_byte_codes", protoSnap, snap.GetByteCodesMsg, roleRequest, 0, 0},
	msgByteCodes:             {"byte_codes", protoSnap, snap.ByteCodesMsg, roleResponse, 0, 0},
	msgGetTrieNodes:          {"get_trie_nodes", protoSnap, snap.GetTrieNodesMsg, roleRequest, 0, 0},
	msgTrieNodes:             {"trie_nodes", protoSnap, snap.TrieNodesMsg, roleResponse, 0, 0},
	msgGetWitnessHashes:      {"get_block_witness_hashes", protoWit, getWitnessHashesCode, roleRequest, 0, 0},
	msgWitnessHashes:         {"block_witness_hashes", protoWit, witnessHashesCode, roleResponse, 0, 0},
	msgGetWitnessKeys:        {"get_witness_keys", protoBeam, getWitnessKeysCode, roleRequest, 0, 0},
	msgWitnessKeys:           {"witness_keys", protoBeam, witnessKeysCode, roleResponse, 0, 0},
	msgBeamGetNodeData:       {"beam_get_node_data", protoBeam, beamGetNodeDataCode, roleRequest, 0, 0},
	msgBeamNodeData:          {"beam_node_data", protoBeam, beamNodeDataCode, roleResponse, 0, 0},
	msgGetSubtrees:           {"get_subtrees", protoBeam, getSubtreesCode, roleRequest, 0, 0},
	msgSubtrees:              {"subtrees", protoBeam, subtreesCode, roleResponse, 0, 0},
	msgHave:                  {"have", protoBeam, haveCode, roleHave, 0, 0},
}

// urgent says whether a block or a query may wait for the response: all but what only the backfill, old blocks and the pool
// ask for.
func (m message) urgent() bool {
	switch m { //nolint:exhaustive // all others are
	case msgAccountRange, msgStorageRanges, msgSubtrees, msgReceipts, msgPooledTransactions:
		return false
	}
	return true
}

// maxSize is the limit of the bytes of a message. That of a response depends on its request.
func (m message) maxSize() uint32 {
	switch m { //nolint:exhaustive // one limit for all others
	case msgHave, msgStatus, msgBlockRangeUpdate:
		return maxAnnouncement
	case msgPooledHashes:
		return maxPooledHashes
	}
	if messages[m].role == roleResponse {
		return maxMessageSize
	}
	return maxIncoming
}

// String returns the message's name as metrics and errors show it.
func (m message) String() string { return messages[m].name }

// lookup finds the message with a code in a protocol; version is that of eth.
func lookup(proto protocol, version uint, code uint64) (message, bool) {
	for m := range message(messageCount) {
		kind := &messages[m]
		if kind.protocol == proto && kind.code == code {
			return m, version >= kind.first && (kind.last == 0 || version <= kind.last)
		}
	}
	return 0, false
}
